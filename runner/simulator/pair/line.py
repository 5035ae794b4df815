"""The line between two runners: sessions, each a stream of messages in both directions, in order, that ends when it is told to."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from runner.simulator.clock import VirtualClock
from runner.simulator.pair.faults import BACK, THERE, Cut, PairFaults

SILENCE_SECONDS = 45.0
"""After so long a stall both ends take the line for cut."""
LONGEST_LINGERING_SECONDS = 20.0
"""For so long at most the end of a session goes unnoticed that a crash or an outage has cut."""
WINDOW = 8
"""So many messages may be under way to an origin; its executor waits with the next."""


class Pipe:
    """One direction of a session. Messages arrive one after the other; at an end, some of those that are under way still do."""

    def __init__(self, line: Line, session: Session, direction: str) -> None:
        self._line = line
        self._session = session
        self._direction = direction
        self._queue: deque[Any] = deque()
        self._is_moving = False
        self._after: float | None = None
        """It has ended: when that is noticed, and until when what is under way may come yet, by the clock of the line."""
        self.deliver: Callable[[Any], None] = lambda message: None
        self.on_end: Callable[[], None] = lambda: None
        self.on_room: Callable[[], None] = lambda: None
        self.over = False

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= WINDOW

    @property
    def under_way(self) -> int:
        return len(self._queue)

    @property
    def _left(self) -> float:
        return 0.0 if self._after is None else max(0.0, self._after - self._line.now)

    def send(self, message: Any) -> None:
        if self._after is None and not self.over:
            self._queue.append(message)
            self.move()

    def end(self, kept: int, after: float) -> None:
        """Nothing more is sent; so many of those under way arrive still, at any time within `after` seconds, and then that it is over."""
        if self._after is None and not self.over:
            self._after = self._line.now + after
            while len(self._queue) > kept:
                self._queue.pop()
            self.move()

    def abandon(self) -> None:
        """Whoever would receive it is gone."""
        self.over = True
        self._queue.clear()

    def move(self) -> None:
        if self._is_moving or self.over or (self._line.is_stalled and self._after is None):
            return
        if self._queue:
            self._is_moving = True
            self._line.later(self._line.delay(self._left), self._arrive)
        elif self._after is not None:
            self._is_moving = True
            self._line.later(self._left, self._finish)

    def _arrive(self) -> None:
        self._is_moving = False
        if self.over or (self._line.is_stalled and self._after is None) or not self._queue:
            self.move()
            return
        cut = self._line.cut_at(self._direction) if self._after is None else None
        if cut is not None and not cut.delivered:
            self._session.cut(cut.unnoticed, cut.lingers)
            return
        message = self._queue.popleft()
        self.move()
        self.on_room()
        try:
            self.deliver(message)  # which may be the end of its receiver
        finally:
            if cut is not None:
                self._session.cut(cut.unnoticed, cut.lingers)

    def _finish(self) -> None:
        if not self.over:
            self.over = True
            self.on_end()


class Session:
    def __init__(self, line: Line) -> None:
        self.there = Pipe(line, self, THERE)
        self.back = Pipe(line, self, BACK)
        self.why = "the line was cut"
        """What the origin is told when it is over."""
        self.cut_at = math.inf
        """From when on nothing passes any more, whether somebody has noticed it or not, in seconds since the epoch."""
        self._line = line

    def cut(self, unnoticed: float, lingers: float) -> None:
        """Some of what is under way comes still, in either direction."""
        self._is_cut()
        self.back.end(self._line.share(self.back), unnoticed)
        self.there.end(self._line.share(self.there), lingers)

    def end(self, why: str) -> None:
        """The executor has ended it: all that it has said comes still."""
        self._is_cut()
        self.why = why
        self.there.abandon()
        self.back.end(self.back.under_way, 0.0)

    def origin_gone(self, lingers: float) -> None:
        """What it has sent may come still."""
        self._is_cut()
        self.back.abandon()
        self.there.end(self._line.share(self.there), lingers)

    def executor_gone(self, unnoticed: float) -> None:
        self._is_cut()
        self.there.abandon()
        self.back.end(self._line.share(self.back), unnoticed)

    @property
    def is_over(self) -> bool:
        return self.there.over and self.back.over

    def _is_cut(self) -> None:
        self.cut_at = min(self.cut_at, self._line.wall)


class Line:
    def __init__(self, clock: VirtualClock, faults: PairFaults, answer: Callable[[Session, Any], None]) -> None:
        """`answer` is given each session with its first message. The spans of the faults begin to count now."""
        self.is_stalled = False
        self.messages: Counter[str] = Counter()
        """How many have come, by direction."""
        self._clock = clock
        self._chance = Random(f"line {faults.chance}")
        self._latency = faults.latency
        self._cuts = {(cut.direction, cut.message): cut for cut in faults.cuts}
        self._answer = answer
        self._sessions: list[Session] = []
        self._down_until = 0.0
        self._stalls = 0
        now = clock.now().boot
        for start, end in faults.outages:
            clock.call_at(now + start, partial(self._break, now + end))
        for start, end in faults.stalls:
            clock.call_at(now + start, self._stall)
            clock.call_at(now + end, self._flow)

    def dial(self) -> Session | None:
        """A session that has begun; None where the other end cannot be reached."""
        if self._clock.now().boot < self._down_until:
            return None
        session = Session(self)
        session.there.deliver = lambda message: self._answer(session, message)
        self._sessions = [each for each in self._sessions if not each.is_over] + [session]
        return session

    def origin_gone(self) -> None:
        """Its process is dead."""
        for session in self._sessions:
            session.origin_gone(self._lingering())

    def executor_gone(self) -> None:
        for session in self._sessions:
            session.executor_gone(self._lingering())

    # For pipes.

    @property
    def now(self) -> float:
        return self._clock.now().boot

    @property
    def wall(self) -> float:
        return self._clock.now().wall

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.now().boot + seconds, callback)

    def delay(self, late: float) -> float:
        """How long a message takes that may be so late."""
        return self._latency * self._chance.uniform(0.5, 1.5) + (self._chance.uniform(0.0, late) if late else 0.0)

    def share(self, pipe: Pipe) -> int:
        """How many of those under way come although the session has ended."""
        return self._chance.randint(0, pipe.under_way)

    def cut_at(self, direction: str) -> Cut | None:
        """Where the next message of this direction is one at which the line is to be cut; it is counted."""
        cut = self._cuts.get((direction, self.messages[direction]))
        self.messages[direction] += 1
        if cut is not None:
            self._down_until = max(self._down_until, self._clock.now().boot + cut.down)
        return cut

    # Faults.

    def _lingering(self) -> float:
        return self._chance.choice(
            (0.0, 0.0, self._chance.uniform(0.0, 1.0), self._chance.uniform(0.0, LONGEST_LINGERING_SECONDS))
        )

    def _break(self, end: float) -> None:
        self._down_until = max(self._down_until, end)
        for session in self._sessions:
            session.cut(self._lingering(), self._lingering())

    def _stall(self) -> None:
        self._stalls += 1
        self.is_stalled = True
        sessions, stalls = list(self._sessions), self._stalls

        def tired() -> None:
            if self.is_stalled and stalls == self._stalls:
                for session in sessions:
                    session.cut(0.0, 0.0)

        self.later(SILENCE_SECONDS, tired)

    def _flow(self) -> None:
        self.is_stalled = False
        for session in self._sessions:
            session.there.move()
            session.back.move()
