"""What a peer is asked of tasks before they are handed to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.dispatch.claims import faults_taken
from runner.model.fault import Fault
from runner.model.session import Check, Checked
from runner.model.task import Task

Answered = Callable[[Sequence[Fault] | None], None]
"""Called once: with what is wrong with the tasks, or with None where that cannot be heard."""


class Questions:
    """Those of the present session that are not answered."""

    def __init__(self) -> None:
        self._asked = 0
        self._open: dict[int, Answered] = {}

    def ask(
        self, tasks: Sequence[Task], on_behalf_of: str, answered: Answered, send: Callable[[Check], None] | None
    ) -> None:
        """`send` is None where there is no session."""
        if send is None:
            answered(None)
            return
        self._asked += 1
        self._open[self._asked] = answered
        send(Check(number=self._asked, tasks=tuple(tasks), on_behalf_of=on_behalf_of))

    def answer(self, said: Checked) -> None:
        if (answered := self._open.pop(said.number, None)) is not None:
            answered(faults_taken(said.faults))

    def cut(self) -> None:
        """The session is over."""
        cut, self._open = self._open, {}
        for answered in cut.values():
            answered(None)
