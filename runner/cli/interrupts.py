"""What Ctrl-C and its relatives do to a running group: first it is cancelled, then its clean-up too, then the command leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType

from runner.cli.terminal import complain

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130

ECHO_SECONDS = 0.1
"""Who runs this command may pass a signal on that it has got already: timeout(1), npm, a terminal that closes. What comes so soon
after another is the same one again."""

WORDS = (
    ("stopping: running tasks are asked to end, clean-up still runs", "once more ends clean-up too"),
    ("stopping without clean-up: what still runs is killed", "once more leaves at once, with everything killed"),
)


class Interrupts:
    """Takes the signals while it is entered. `count` is how many came, `first` what that was: the name of a signal."""

    def __init__(self, leave: Callable[[], None], words: Sequence[tuple[str, str]] = WORDS) -> None:
        """`leave` removes what must not stay behind when the command leaves at once. `words` are said for each signal that
        does not make it leave yet: what it does, and a moment later what the next one will do."""
        self.count = 0
        self.first: str | None = None
        self._leave = leave
        self._words = words
        self._cancel: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._taken: list[signal.Signals] = []
        self._deaf: asyncio.TimerHandle | None = None
        self._unheard = 0
        """How many came since the loop has heard of one: a driver may hold it up."""
        self._struck_at = 0.0

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            # Whoever started this command with a signal ignored (nohup, a background job) wants it ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._signalled, number)
                signal.signal(number, self._strike)  # beside the loop, which hears of it all the same
                self._taken.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._taken:
            self._loop.remove_signal_handler(number)
        if self._deaf is not None:
            self._deaf.cancel()

    def cancels(self, cancel: Callable[[], None]) -> None:
        """From now on the first two signals call `cancel`; those that came before call it now."""
        self._cancel = cancel
        for _ in range(self.count):
            cancel()

    def _strike(self, number: int, frame: FrameType | None) -> None:
        """Called where the thread is, also while the loop does not turn."""
        now = time.monotonic()
        if now - self._struck_at < ECHO_SECONDS:
            return
        self._struck_at = now
        self._unheard += 1
        if self._unheard > len(self._words):
            self._leave()
            os._exit(INTERRUPTED)
        if self._unheard == len(self._words):
            complain("the runner is held up and has not heard of it yet; once more leaves at once")

    def _signalled(self, number: signal.Signals) -> None:
        self._unheard = 0
        self.first = self.first or number.name
        if self._deaf is not None:
            return
        self.count += 1
        if self.count > len(self._words):
            # The supervisor sees that this process is gone and kills what it started for it.
            self._leave()
            os._exit(INTERRUPTED)
        said, next_one = self._words[self.count - 1]
        complain(said)
        self._deaf = self._loop.call_later(ECHO_SECONDS, self._listen, next_one)
        if self._cancel is not None:
            self._cancel()

    def _listen(self, words: str) -> None:
        self._deaf = None
        complain(words)
