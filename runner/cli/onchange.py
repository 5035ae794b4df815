"""`runner run --watch`: run again when the document, or something else that is watched, changes."""

from __future__ import annotations

import os
import signal
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from runner.cli.changes import Changes
from runner.cli.document import STDIN
from runner.cli.faults import told
from runner.cli.interrupts import Interrupts
from runner.cli.terminal import STDERR, Output, complain
from runner.errors import DocumentError, UsageError
from runner.model.words import listed
from runner.runs import interrupted

REFUSED = 2


class Round(Interrupts):
    """One run of many: a change ends it as the first Ctrl-C does."""

    def __init__(self, leave: Callable[[], None]) -> None:
        super().__init__(leave)
        self._stop: Callable[[], None] | None = None
        self._changed = False

    def cancels(self, cancel: Callable[[], None]) -> None:
        def unless_it_is() -> None:
            if not self._changed or self.count > 1:  # the second cancel ends clean-up, which nobody has asked for yet
                cancel()

        super().cancels(unless_it_is)
        self._stop = cancel
        if self._changed and not self.count:
            cancel()

    def change(self) -> None:
        """Something has changed; called from any thread."""
        self._loop.call_soon_threadsafe(self._change)

    def _change(self) -> None:
        if self._changed:
            return
        self._changed = True
        self.first = self.first or interrupted.CHANGE
        if self._stop is not None and not self.count:
            self._stop()


class Rounds:
    """One run after the other, until somebody ends it."""

    def __init__(self, once: Callable[[Callable[[Callable[[], None]], Interrupts]], int], options: Namespace) -> None:
        """`once` runs the document as it is now; it takes what makes its interrupts."""
        self._once = once
        self._changes = Changes(_files(options), options.watch_path, self._changed)
        self._condition = threading.Condition()
        self._what: str | None = None
        self._round: Round | None = None

    def run(self) -> int:
        """The exit status of the last run. Raises what ends all of it."""
        self._changes.start()
        status = REFUSED
        try:
            while True:
                try:
                    status = self._once(self._begin)
                except (DocumentError, UsageError) as error:
                    complain(told(error))
                    status = REFUSED
                is_interrupted = self._round is not None and self._round.count > 0
                with self._condition:
                    self._round = None
                if is_interrupted:
                    return status
                self._wait()
        except KeyboardInterrupt:
            if os.isatty(STDERR):
                Output(STDERR).write(b"\n")  # behind the ^C that the terminal shows
            return status
        finally:
            self._changes.stop()

    def _begin(self, leave: Callable[[], None]) -> Interrupts:
        round = Round(leave)
        with self._condition:
            self._round = round
            if self._what is not None:  # while it was read
                round.change()
        return round

    def _wait(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)  # nothing runs that would have to be ended
        with self._condition:
            if self._what is None:
                complain(f"waiting for a change of {listed(self._changes.names)}; Ctrl-C ends it")
            while self._what is None:
                self._condition.wait()
            what, self._what = self._what, None
        if self._changes.failure is not None:
            raise self._changes.failure
        complain(f"{what} has changed: once more")

    def _changed(self, what: str) -> None:
        with self._condition:
            self._what = what
            self._condition.notify()
            if self._round is not None:
                complain(f"{what} has changed: what runs is asked to end" if what else "nothing is watched any more")
                self._round.change()


def _files(options: Namespace) -> list[Path]:
    secrets = [text.partition("=")[2] for text in options.set_secret]
    files = [Path(options.file), *options.env_file, *options.input_file]
    return list(dict.fromkeys([*files, *(Path(source[1:]) for source in secrets if source.startswith("@"))]))


def check(options: Namespace) -> None:
    """Raises UsageError for what cannot be done again and again."""
    if options.dry_run:
        raise UsageError("--dry-run starts nothing, so --watch has nothing to end: give one of them")
    if options.id:
        raise UsageError("--id names one run, and --watch makes many: give one of them")
    if options.file == STDIN or any(text.endswith("=-") for text in options.set_secret):
        raise UsageError("--watch reads everything again, which standard input cannot be: write it to a file")
