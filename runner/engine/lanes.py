"""Groups whose `concurrency` has the same key: of those one at a time has its turn, in the order in which they were accepted.

A lane belongs to whoever submitted its groups: what others have, even under the same key, neither holds them back nor is seen there. Nothing of a
lane is stored beside what each group says of itself: after a restart it is put together again from its groups, in their order.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.model.event import Kind
from runner.model.result import Waiting
from runner.store.base import GroupRow

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun

Name = tuple[str, str, str]
"""Of a lane: who has submitted its groups, on whose behalf, and the key."""


def waiting(ahead: str, key: str) -> dict[str, str]:
    """What an event says of a group that waits for the one that is called `ahead`."""
    why = f"for group {ahead} (concurrency key {key})"
    return {"waiting": Waiting.CONCURRENCY.value, "why": why, "waits_for": ahead}


class Turn:
    """That of one group."""

    def __init__(self, run: GroupRun, row: GroupRow) -> None:
        self._run = run
        self._lanes = run.services.lanes
        self._is_under_way = False
        """What follows when it comes is done at once."""
        self.number = next(self._lanes.numbers)
        """In the order of acceptance."""
        self.key = row.concurrency
        self.waits_for = row.waits_for
        """What the group is called that stands before it; None once its turn has come."""
        self.is_held = False
        """Nothing of it may begin here: its turn has not come, or it was ended before that."""

    def into(self, row: GroupRow) -> GroupRow:
        return row if self.waits_for == row.waits_for else replace(row, waits_for=self.waits_for)

    @property
    def lane(self) -> Name:
        return self._run.caller, self._run.submitter, self.key

    @property
    def public_id(self) -> str:
        return self._run.public_id

    @property
    def replaces(self) -> bool:
        """Whether it ends those before it."""
        concurrency = self._run.group.concurrency
        return concurrency is not None and concurrency.cancel_previous

    @property
    def is_waiting(self) -> bool:
        """Whether it will have its turn later."""
        return self.is_held and self._run.abortion.reason is None

    def join(self) -> None:
        """The group is carried out here: let it stand in its lane, if it has one. Where it need not wait, what follows is for the
        caller."""
        if self.key:
            self._lanes.join(self)
        self._is_under_way = True

    def leave(self) -> None:
        """It is over."""
        if self.key:
            self._lanes.leave(self)

    def end(self, by: str) -> None:
        """A newer group, which is called so, takes its place."""
        self._run.abortion.replaced(by)

    def wait(self, ahead: str) -> None:
        """It stands behind the group that is called so."""
        if self.waits_for != ahead:
            self.waits_for = ahead
            self._run.event(Kind.GROUP_WAITING, **waiting(ahead, self.key))
            self._run.services.journal.mark(self._run)
            self._run.abortion.rest()

    def come(self) -> None:
        """It is its turn."""
        self.is_held = False
        self.wait_no_more()
        if self._is_under_way:
            self._run.decide_here()
            self._run.settle()

    def wait_no_more(self) -> None:
        if self.waits_for is not None:
            self.waits_for = None
            self._run.event(Kind.GROUP_READY)
            self._run.services.journal.mark(self._run)
            self._run.abortion.rest_no_more()


class Lanes:
    """Those of all groups that are not over and carried out here."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self._lanes: dict[Name, list[Turn]] = {}
        """Of each those that stand in it, in the order of `_place`; the first has its turn unless it was ended before."""
        self._left: list[Name] = []
        """Their first may have left, and nobody has been given its place."""
        self._is_passing = False
        self._is_replacing = False

    def ahead(self, lane: Name, *, replaces: bool) -> str | None:
        """What the group is called that the next one of this lane will stand behind, if any. With `replaces` all that wait leave."""
        turns = self._lanes.get(lane)
        return turns[0 if replaces else -1].public_id if turns else None

    def line(self, turn: Turn) -> list[str]:
        """What those are called that stand before it, the first at the front."""
        turns = self._lanes.get(turn.lane, [])
        return [other.public_id for other in turns[: _index(turns, turn) or 0]]

    def join(self, turn: Turn) -> None:
        turns = self._lanes.setdefault(turn.lane, [])
        if _index(turns, turn) is not None:
            return
        turn.is_held = bool(turns)
        insort(turns, turn, key=_place)
        if turn.replaces or max(turns[0], turns[-1], key=_number) is not turn:
            self._replace(turns)
        index = _index(turns, turn)
        if index is not None:  # else a newer one has taken its place at once
            self._look(turns, index)
            self._look(turns, index + 1)

    def leave(self, turn: Turn) -> None:
        turns = self._lanes.get(turn.lane, [])
        index = _index(turns, turn)
        if index is None:
            return
        del turns[index]
        if not turns:
            del self._lanes[turn.lane]
        elif index == 0:
            self._pass_on(turn.lane)
        else:
            self._look(turns, index)

    def restore(self, turns: Iterable[Turn]) -> None:
        """Let those of a former engine stand where they stood. What follows is for `go_on`, once they are under way."""
        for turn in turns:
            if turn.key:
                turn.is_held = turn.waits_for is not None
                insort(self._lanes.setdefault(turn.lane, []), turn, key=_place)

    def go_on(self) -> None:
        """What the former engine had no time for."""
        for lane, turns in list(self._lanes.items()):
            self._replace(turns)
            for index in range(len(turns)):
                self._look(turns, index)
            self._pass_on(lane)

    def _look(self, turns: list[Turn], index: int) -> None:
        """Let that one know who stands before it."""
        if 0 < index < len(turns) and turns[index].is_waiting and not self._is_replacing:
            turns[index].wait(turns[index - 1].public_id)

    def _replace(self, turns: list[Turn]) -> None:
        """End those in whose place a newer one has come: all of them before anybody is told who stands before him, or has his turn. Where the
        first is over at once, it is not for the next one to begin, which is about to be ended as well."""
        newest = max((turn for turn in turns if turn.replaces), key=_number, default=None)
        if newest is None:
            return
        self._is_replacing = True
        try:
            for turn in [turn for turn in turns if turn.number < newest.number]:
                turn.end(newest.public_id)
        finally:
            self._is_replacing = False
        index = _index(turns, newest)
        if index is not None:
            self._look(turns, index)
        self._pass_on(newest.lane)

    def _pass_on(self, lane: Name) -> None:
        """Give the turn to the first. It may be over at once, and so may the next ones: one after the other, not one within the other."""
        self._left.append(lane)
        if self._is_passing or self._is_replacing:
            return
        self._is_passing = True
        try:
            while self._left:
                turns = self._lanes.get(self._left.pop())
                if turns and turns[0].is_waiting:
                    turns[0].come()
        finally:
            self._is_passing = False


def _place(turn: Turn) -> tuple[bool, int]:
    """Whose turn it is stands before all others, which stand in the order of their acceptance."""
    return turn.is_held, turn.number


def _index(turns: list[Turn], turn: Turn) -> int | None:
    """Where it stands among them; None where it does not. Thousands may."""
    index = bisect_left(turns, _place(turn), key=_place)
    return index if index < len(turns) and turns[index] is turn else None


def _number(turn: Turn) -> int:
    return turn.number
