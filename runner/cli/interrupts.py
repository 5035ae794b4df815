"""What Ctrl-C and its relatives do to a running group: first it is cancelled, then its clean-up too, then the command leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from types import TracebackType

from runner.cli.terminal import complain

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130

WORDS = (
    "stopping: running tasks are asked to end, clean-up still runs; once more ends clean-up too",
    "stopping without clean-up; once more leaves at once, with everything killed",
)


class Interrupts:
    """Takes the signals while it is entered. `count` is how many came."""

    def __init__(self, leave: Callable[[], None], words: Sequence[str] = WORDS) -> None:
        """`leave` removes what must not stay behind when the command leaves at once. `words` are said, one after the other, for
        each signal that does not make it leave yet."""
        self.count = 0
        self._leave = leave
        self._words = words
        self._cancel: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._taken: list[signal.Signals] = []

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            # Whoever started this command with a signal ignored (nohup, a background job) wants it ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._signalled)
                self._taken.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._taken:
            self._loop.remove_signal_handler(number)

    def cancels(self, cancel: Callable[[], None]) -> None:
        """From now on the first two signals call `cancel`; those that came before call it now."""
        self._cancel = cancel
        for _ in range(self.count):
            cancel()

    def _signalled(self) -> None:
        self.count += 1
        if self.count > len(self._words):
            # The supervisor sees that this process is gone and kills what it started for it.
            self._leave()
            os._exit(INTERRUPTED)
        complain(self._words[self.count - 1])
        if self._cancel is not None:
            self._cancel()
