"""A world of two runners, one of which forwards to the other, for one scenario: clients, both runners and the line between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from runner.dispatch.remote import RemoteDispatcher
from runner.engine.engine import Engine
from runner.errors import GroupNotFoundError, StoreError
from runner.model.dispatch import AttemptId
from runner.model.event import Event
from runner.model.result import Abort, Outcome, Reason, Status
from runner.simulator.clients import PATIENCE_SECONDS, Client
from runner.simulator.clock import VirtualClock
from runner.simulator.life import Crash
from runner.simulator.pair.executor import Executor
from runner.simulator.pair.faults import NO_PAIR_FAULTS, PairFaults
from runner.simulator.pair.line import Line
from runner.simulator.pair.origin import Origin, Remotes
from runner.simulator.scenario import Faults, Scenario
from runner.simulator.world import Played

SETTLE_SECONDS = 30.0
"""Behind the end of all groups, while the line is there: so long at most may what is not wanted any more run on."""
LONGEST_SECONDS = 3600.0
"""How long a world may go on when nothing goes wrong any more."""


class PlayedPair(Struct, frozen=True, kw_only=True):
    """What is left when all is over. `origin` is what a world with one engine would have been left with."""

    origin: Played
    node: Origin
    executor: Executor
    faults: PairFaults
    seconds: float
    ended: bool
    """All groups came to their end in time."""
    messages: tuple[int, int]
    """How many came there, and back."""

    @property
    def began(self) -> float:
        return self.origin.began

    @property
    def events(self) -> Mapping[str, list[Event]]:
        return self.origin.events

    @property
    def crashes(self) -> int:
        return self.node.crashes + self.executor.crashes


class PairWorld:
    def __init__(
        self,
        scenario: Scenario,
        slots: int,
        faults: PairFaults = NO_PAIR_FAULTS,
        *,
        remote: Remotes = RemoteDispatcher,
        executor: Callable[..., Executor] = Executor,
    ) -> None:
        """`slots` are those of the executor. `remote` and `executor` are how the two sides are made."""
        self._scenario = scenario
        self._faults = faults
        self._clock = VirtualClock()
        self._began = self._clock.now()
        self._executor = executor(scenario, slots, faults, self._clock, lambda: self._line)
        self._line: Line = Line(self._clock, faults, self._executor.answer)
        self._origin = Origin(scenario, faults, self._clock, lambda: self._line, remote)
        self._origin.on_begin = self._began_anew
        self._origin.on_lost = self._expect
        self._clients: list[Client] = []
        self._to_come = 0

    def play(self) -> PlayedPair:
        for item in self._scenario.submissions:
            for number, at in enumerate([item.at, *sorted(item.cancels)]):
                self._plan(at, Client(item, number))
            for signal in item.signals:
                self._plan(signal.at, Client(item, signal=signal))
        self._clock.call_soon(self._executor.begin)
        self._clock.call_soon(self._origin.begin)
        self._pass(self._faults.until)
        last = self._now() + LONGEST_SECONDS
        quiet, seconds = 0.0, self._now()
        while quiet < self._settle_seconds and self._now() < last:
            crashes = self._crashes
            self._pass(self._now() + 1.0)
            if self._is_over() and crashes == self._crashes:
                quiet += 1.0
            else:
                quiet, seconds = 0.0, self._now()
        ended = quiet >= self._settle_seconds
        played = self._played(ended, seconds)
        self._executor.finish()
        return played

    @property
    def _settle_seconds(self) -> float:
        """A group that was forwarded as a whole and is not wanted any more has its clean-up."""
        groups = [item.group for item in self._scenario.submissions]
        return SETTLE_SECONDS + max((it.cleanup_timeout for it in groups if it.forward is not None), default=0.0)

    def _pass(self, until: float) -> None:
        """Let time pass up to then."""
        while True:
            try:
                self._clock.run_until(self._began.boot + until)
                return
            except Crash:
                for node in (self._origin, self._executor):
                    if not node.is_down and not node.life.alive:
                        node.died()

    def _now(self) -> float:
        return self._clock.now().boot - self._began.boot

    @property
    def _crashes(self) -> int:
        return self._origin.crashes + self._executor.crashes

    def _is_over(self) -> bool:
        """Nobody wants anything any more, and both are there, and hear each other."""
        is_there = self._origin.is_in_contact and not self._executor.is_down
        return is_there and not self._to_come and not self._origin.disk.store.unfinished()

    # Clients.

    def _plan(self, at: float, client: Client) -> None:
        client.made = False
        self._to_come += 1
        self._clock.call_at(self._began.boot + at, partial(self._act, client))

    def _act(self, client: Client) -> None:
        self._to_come -= 1
        if client not in self._clients:
            self._clients.append(client)
        if client.made:
            return
        if self._origin.engine is None or not self._origin.life.alive:
            client.made = True  # it is, as soon as somebody is there again, in its turn
            return
        self._call(client, self._origin.engine)

    def _call(self, client: Client, engine: Engine) -> None:
        def answer(error: Exception | None) -> None:
            if error is None:
                client.acknowledged = True
            else:
                self._plan(self._now() + PATIENCE_SECONDS, client)

        try:
            client.call(engine, answer)
        except (StoreError, GroupNotFoundError):
            if client.signal is not None:
                client.acknowledged = True  # there is nobody who could have it
            else:
                self._plan(self._now() + PATIENCE_SECONDS, client)
        if client.signal is not None and client.signal.signal == "destroy":
            client.acknowledged = True  # nothing of it is written down

    def _began_anew(self, engine: Engine) -> None:
        for client in self._clients:
            if client.made and not client.acknowledged:
                self._call(client, engine)

    def _expect(self) -> None:
        """The origin has lost its power: what was acknowledged as durable is there."""
        for client in self._clients:
            if client.acknowledged and client.signal is None and client.cancel == 0:
                self._origin.witness.expect_group(client.submission.id)
            elif client.acknowledged and client.signal is None:
                self._origin.witness.expect_cancel(client.submission.id, client.cancel)

    # What is left.

    def _played(self, ended: bool, seconds: float) -> PlayedPair:
        origin, executor, faults = self._origin, self._executor, self._faults
        store = origin.disk.store
        records = {item.id: record for item in self._scenario.submissions if (record := store.group(item.id))}
        assert origin.engine is not None or not ended, "it is there when all is over"
        restarted = Outcome(status=Status.ERRORED, reason=Reason.HOST_RESTARTED)
        stops = set(origin.witness.forgotten_stops)
        if faults.restores:  # what was not over in the backup was ended there
            stops |= {AttemptId(row.group, row.task, row.attempt) for it in records.values() for row in it.attempts}
        alone = Played(
            began=self._began.wall,
            results={id: origin.engine.result(id) for id in records} if origin.engine else {},
            records=records,
            events={id: list(store.events(id, limit=1_000_000)) for id in records},
            executor=origin.runs,
            peer=executor.runs,
            complaints=[
                *origin.witness.complaints,
                *origin.runs.complaints,
                *executor.witness.complaints,
                *executor.runs.complaints,
                *executor.complaints,
            ],
            crashes=origin.crashes,
            faults=Faults(crashes=faults.origin, outages=((0.0, math.inf),)),
            seconds=seconds,
            steps=origin.fate.steps,
            interrupted=frozenset(origin.interrupted),
            forgotten_stops=frozenset(stops),
            stop_reasons=frozenset({None, Abort.CANCELLED.value, Reason.ENDED_BY_RUNNER.value}),
            other_ends=(restarted,) if faults.executor_power else (),
            told={},
        )
        return PlayedPair(
            origin=alone,
            node=origin,
            executor=executor,
            faults=faults,
            seconds=seconds,
            ended=ended,
            messages=(self._line.messages["there"], self._line.messages["back"]),
        )
