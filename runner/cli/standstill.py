"""What is told when a group stands still because a task has failed, and what a person answers."""

from __future__ import annotations

import asyncio
import os
import shlex
import termios
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.cli.commands import COMMANDS
from runner.cli.report import cause_text
from runner.cli.screen import is_in_front
from runner.cli.terminal import complain
from runner.model.dispatch import CONTINUE, RETRY
from runner.model.event import Event, Kind
from runner.model.watch import Happening

STDIN = 0
LOOK_SECONDS = 0.1
"""How often it is looked, while a group stands still, for what was left for it and whether there is somebody at the terminal to listen to."""
LONGEST_ANSWER_BYTES = 4096

Decide = Callable[[str, str], object]
"""Is given a task and what follows from its failure."""

_ANSWERS = {"r": RETRY, RETRY: RETRY, "c": CONTINUE, CONTINUE: CONTINUE}
"""Whole words: `cancel` is no `continue`."""
_ABORT = ("a", "abort")
_HELP = "type r to try it once more, c to let its failure stand, or a to end the group, and Enter"


class Answers:
    """Who is asked: what a person types, and for a run on this machine what another command has left for it in `folder`."""

    def __init__(self, decide: Decide, abort: Callable[[], object], folder: Path | None = None) -> None:
        self.decide = decide
        self.abort = abort
        self.folder = folder


class Standstill:
    """Of one group, whose story it reads. Entered while that is shown."""

    def __init__(
        self, id: str, place: str, answers: Answers | None = None, typed: Callable[[int], None] = lambda lines: None
    ) -> None:
        """`place` is what other commands need to find the group. Without `answers` it is only told what to do. `typed` is told how often a
        person pressed Enter."""
        self._id = id
        self._place = place
        self._answers = answers
        self._held: dict[str, str] = {}
        """The tasks that failed and wait for a decision, with how they failed."""
        self._told: str | None = None
        """For which of them it is told what to do."""
        self._is_listening = False
        self._looking: asyncio.TimerHandle | None = None
        self._typed = typed

    @contextmanager
    def attended(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._held.clear()
            self._attend()

    async def tapped(self, story: AsyncIterator[Sequence[Happening]]) -> AsyncIterator[Sequence[Happening]]:
        """The same story."""
        async for happenings in story:
            yield happenings
            for happening in happenings:
                if isinstance(happening, Event):
                    self._take(happening)
            self._attend()

    def _take(self, event: Event) -> None:
        if event.kind is Kind.TASK_HELD and event.task is not None:
            self._held[event.task] = cause_text(event.fields) or str(event.fields["status"])
        elif event.kind in (Kind.TASK_DISPATCHED, Kind.TASK_FINISHED):
            self._held.pop(event.task or "", None)
            if self._told == event.task:
                self._told = None  # it may have failed again by the time that somebody is told
        elif event.kind is Kind.CANCEL_REQUESTED:
            self._held.clear()

    def _attend(self) -> None:
        first = next(iter(self._held), None)
        if first is not None and first != self._told:
            complain("\n".join(self._words(first)))
        self._told = first
        self._listen(first is not None)
        if self._answers is not None and first is not None and not self._looking:
            self._look_later(self._answers)

    def _words(self, task: str) -> Iterator[str]:
        yield f"{task} has failed ({self._held[task]}), and the group stands still: what runs goes on, nothing else begins"
        if self._can_listen:
            yield f"  {_HELP}; or"
        of_task = f"{self._place} {shlex.quote(self._id)} {shlex.quote(task)}"
        commands = [(f"runner logs{of_task}", "all that it printed")]
        if "shell" in COMMANDS:
            commands.append((f"runner shell{of_task}", "a terminal where it ran"))
        commands += [
            (f"runner signal{of_task} {RETRY}", "tries it once more"),
            (f"runner signal{of_task} {CONTINUE}", "lets its failure stand"),
            (f"runner cancel{self._place} {shlex.quote(self._id)}", "ends the group"),
        ]
        width = max(len(command) for command, _ in commands)
        yield from (f"  {command:{width}}  {what}" for command, what in commands)

    # What a person types. The terminal stays as it is, so that nothing has to be put right however this ends: it gives whole lines.

    @property
    def _can_listen(self) -> bool:
        return self._answers is not None and os.isatty(STDIN) and is_in_front(STDIN)

    def _listen(self, wanted: bool) -> None:
        loop = asyncio.get_running_loop()
        if wanted and not self._is_listening and self._can_listen:
            with suppress(termios.error):
                termios.tcflush(STDIN, termios.TCIFLUSH)  # what was typed before is no answer
            loop.add_reader(STDIN, self._hear)
            self._is_listening = True
        elif self._is_listening and not wanted:
            loop.remove_reader(STDIN)
            self._is_listening = False

    def _hear(self) -> None:
        try:
            typed = os.read(STDIN, LONGEST_ANSWER_BYTES) if is_in_front(STDIN) else b""
        except OSError:
            typed = b""
        if not typed:
            self._listen(False)
            return
        self._typed(typed.count(b"\n"))
        answer = typed.decode(errors="replace").strip().lower()
        task = self._told
        if task is None or self._answers is None:
            return
        if answer in _ANSWERS:
            self._answers.decide(task, _ANSWERS[answer])
        elif answer in _ABORT:
            self._answers.abort()
        else:
            complain(f"{task}: {_HELP}")

    def _look_later(self, answers: Answers) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look, answers)

    def _look(self, answers: Answers) -> None:
        self._looking = None
        if not self._held:
            return
        if not self._is_listening and self._can_listen:  # it has come to the front (again)
            self._listen(True)
            complain(f"{self._told}: {_HELP}")
        if answers.folder is not None:
            from runner.runs import decisions  # of use to those alone whose run stands still

            for left in decisions.take(answers.folder):
                answers.decide(left.task, left.decision)
        self._look_later(answers)
