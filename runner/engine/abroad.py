"""What the tasks of all groups have to do with other runners: who waits until one is there, and who is carried out on which.

When a runner comes or goes, those that wait are decided anew, and those that it carries out are told of it: only so many in a turn, and none
but these are looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from runner.clock import Clock
from runner.engine.journal import Journal
from runner.model.dispatch import WHOLE, AttemptId
from runner.model.event import Kind

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


WHOLE_GROUP = -1
"""In the place of a task's index: the group as a whole waits."""


RETOLD_SECONDS = 60.0
"""So seldom at most it is told anew why something waits."""


class _Reason(Struct):
    why: str
    told_at: float
    """By the boot clock."""


class _Waiting(Struct):
    run: GroupRun
    reasons: dict[int, _Reason]
    """By index."""


class _Away(Struct):
    """An attempt that another runner carries out; `silent` while there is no contact to it, None before that is known."""

    run: GroupRun
    silent: bool | None


class Abroad:
    def __init__(self, clock: Clock, journal: Journal, most: int) -> None:
        """`most` are decided or told in one turn."""
        self._clock = clock
        self._journal = journal
        self._most = most
        self._waiting: dict[str, _Waiting] = {}
        """By group."""
        self._away: dict[str, dict[AttemptId, _Away]] = {}
        """By runner."""
        self._news: deque[tuple[str, AttemptId, Kind]] = deque()
        """What attempts are still to be told of their runners."""
        self._anew = False
        """Something has changed since those that wait were asked for last."""
        self._groups: deque[str] = deque()
        self._indices: deque[int] = deque()
        """Which groups, and which tasks of the first of them, are still to be decided anew."""
        self._scheduled = False

    # Who waits.

    def wait(self, run: GroupRun, index: int, why: str) -> bool:
        """The task, or the `WHOLE_GROUP`, is to be decided anew when a runner has come or gone. Whether that it waits, or why, is to be
        told again: it was told a while ago for another reason."""
        waiting = self._waiting.get(run.id)
        if waiting is None:
            waiting = self._waiting[run.id] = _Waiting(run, {})
        now = self._clock.now().boot
        reason = waiting.reasons.get(index)
        if reason is not None and (reason.why == why or now - reason.told_at < RETOLD_SECONDS):
            return False
        waiting.reasons[index] = _Reason(why, now)
        return reason is not None

    def waits_no_more(self, run: GroupRun, index: int) -> None:
        """If it did."""
        waiting = self._waiting.get(run.id)
        if waiting is not None:
            waiting.reasons.pop(index, None)
            if not waiting.reasons:
                del self._waiting[run.id]

    def why(self, group: str, index: int) -> str | None:
        """Why the task, or the `WHOLE_GROUP`, waits for a runner; None where it does not."""
        waiting = self._waiting.get(group)
        reason = None if waiting is None else waiting.reasons.get(index)
        return None if reason is None else reason.why

    # Who is away.

    def left(self, run: GroupRun, id: AttemptId, runner: str, *, resumed: bool) -> None:
        """`runner` carries the attempt out. Of one that is `resumed` nobody has heard in this life of the engine yet."""
        self._away.setdefault(runner, {})[id] = _Away(run, silent=None if resumed else False)

    def came_back(self, id: AttemptId, runner: str) -> None:
        """The attempt is over."""
        there = self._away[runner]
        del there[id]
        if not there:
            del self._away[runner]

    def at(self, runner: str) -> list[AttemptId]:
        """The attempts that are not over there."""
        return list(self._away.get(runner, ()))

    # What changes.

    def changed(self, runner: str, there: bool) -> None:
        """A runner has come or gone."""
        kind = Kind.PEER_BACK if there else Kind.PEER_LOST
        for id, away in self._away.get(runner, {}).items():
            if away.silent is not (not there):
                away.silent = not there
                self._news.append((runner, id, kind))
        self._anew = self._anew or bool(self._waiting)
        self._wake()

    def _wake(self) -> None:
        if not self._scheduled and (self._news or self._anew or self._groups or self._indices):
            self._scheduled = True
            self._clock.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._journal.closed:
            return
        left = self._most
        while self._news and left:
            self._tell(*self._news.popleft())
            left -= 1
        while left and (found := self._next()) is not None:
            run, index = found
            run.forwarding.decide_anew(index)
            left -= 1
        self._wake()
        if self._scheduled:
            self._journal.wake()  # so that no transaction grows with what waits

    def _tell(self, runner: str, id: AttemptId, kind: Kind) -> None:
        away = self._away.get(runner, {}).get(id)
        if away is not None:
            away.run.event(kind, None if id.task == WHOLE else away.run.task(id.task), runner=runner)

    def _next(self) -> tuple[GroupRun, int] | None:
        """Who is to be decided next: the groups in the order in which they began to wait, of each the lowest index first."""
        while True:
            while self._indices:
                waiting = self._waiting.get(self._groups[0])
                index = self._indices.popleft()
                if waiting is not None and index in waiting.reasons:
                    return waiting.run, index
            if self._groups:
                self._groups.popleft()
            if not self._groups:
                if not self._anew:
                    return None
                # Whatever changes while these are asked is for another round: so each has its turn, however often it does.
                self._anew = False
                self._groups.extend(self._waiting)
                if not self._groups:
                    return None
            waiting = self._waiting.get(self._groups[0])
            if waiting is not None:
                self._indices.extend(sorted(waiting.reasons))
