"""A world for one scenario: clients, an engine that crashes and is started again, a disk and an executor that survive it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from runner.clock import Moment
from runner.engine.engine import Engine
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.result import Abort, Reason, TaskGroupResult
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.life import Crash, Fate, Life, LivingClock, LivingDispatcher
from runner.simulator.scenario import CrashAt, Scenario, Submission
from runner.simulator.store import CrashingStore, Disk
from runner.simulator.witness import Witness
from runner.store.base import GroupRecord, Store

DOWNTIME_SECONDS = 37.0
"""How long a machine that lost its power stays down."""

SEALER = Sealer(bytes(range(32)))

MakeEngine = Callable[[Store, LivingClock, LivingDispatcher, int], Engine]


def make_engine(store: Store, clock: LivingClock, dispatcher: LivingDispatcher, max_parallel: int) -> Engine:
    return Engine(store=store, clock=clock, dispatcher=dispatcher, sealer=SEALER, max_parallel=max_parallel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What is left when nothing happens any more. `began` is the wall time at which the scenario's time is 0."""

    began: float
    results: Mapping[str, TaskGroupResult]
    records: Mapping[str, GroupRecord]
    events: Mapping[str, list[Event]]
    executor: ScriptedExecutor
    disk: Disk
    complaints: list[str]
    crashes: int
    boots: int
    steps: int
    interrupted: frozenset[AttemptId]
    """Attempts that were not finished, by the disk, when the power was lost."""


@dataclass(slots=True)
class _Client:
    """One call that a client makes, and repeats after a crash until it was acknowledged as durable."""

    submission: Submission
    cancel: int = 0
    """Which of its cancels; 0 for the submission itself."""
    made: bool = False
    acknowledged: bool = False

    def call(self, engine: Engine) -> None:
        self.made = True
        item = self.submission
        if self.cancel == 0:
            engine.submit(item.group, item.inputs, caller=item.caller)
        elif not self._known(engine):
            engine.cancel(item.id)
        engine.when_durable(self._answer)

    def _known(self, engine: Engine) -> bool:
        """Whether an earlier call got through: a second cancel means more than the first, so a client looks before it
        repeats one."""
        return any(
            event.kind is Kind.CANCEL_REQUESTED
            and event.fields["reason"] == Abort.CANCELLED
            and event.fields["count"] >= self.cancel
            for event in engine.events(self.submission.id)
        )

    def _answer(self, error: Exception | None) -> None:
        if error is None:
            self.acknowledged = True


@dataclass(order=True, slots=True)
class _Action:
    at: float
    order: int
    client: _Client = field(compare=False)


class World:
    def __init__(self, scenario: Scenario, crashes: Iterable[CrashAt] = (), make: MakeEngine = make_engine) -> None:
        self._scenario = scenario
        self._make = make
        self._clock = VirtualClock()
        self._began: Moment = self._clock.now()
        self._fate = Fate(crashes)
        self._disk = Disk(self._clock)
        self._executor = ScriptedExecutor(self._clock, scenario.script, duplicates=scenario.duplicates)
        self._witness = Witness(self._disk, scenario.max_parallel)
        self._clients: list[_Client] = []
        self._life = Life(self._fate)
        self._engine: Engine | None = None
        self._crashes = 0
        self._boots = 1
        self._interrupted: set[AttemptId] = set()

    def play(self) -> Played:
        """Let everything happen that will, until no timer is left."""
        actions: list[_Action] = []
        for submission in self._scenario.submissions:
            calls = [submission.at, *sorted(submission.cancels)]
            for number, at in enumerate(calls):
                heapq.heappush(actions, _Action(at, len(actions), _Client(submission, number)))
        self._survive(self._begin_life)
        while actions:
            action = heapq.heappop(actions)
            wall = self._began.wall + action.at
            self._survive(partial(self._pass_time, wall))
            self._clients.append(action.client)
            self._survive(partial(self._call, action.client))
        self._survive(self._clock.run_until_idle)
        return self._played()

    def _pass_time(self, wall: float) -> None:
        now = self._clock.now()
        self._clock.run_until(now.boot + (wall - now.wall))

    def _survive(self, do: Callable[[], None]) -> None:
        """`do`, again and again until no crash interrupts it."""
        while True:
            try:
                do()
                return
            except Crash:
                self._revive()

    def _call(self, client: _Client) -> None:
        # After a crash in the middle of it the call was repeated already, when the engine came back.
        if not client.made:
            client.call(self.engine)
            self._witness.look(self.engine)

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "an engine is made before anything else happens"
        return self._engine

    def _begin_life(self) -> None:
        self._life = life = Life(self._fate)
        clock = LivingClock(self._clock, life)
        store = CrashingStore(self._disk, self._clock, life, self._witness.committed)
        dispatcher = LivingDispatcher(self._executor, life, self._witness.submitting)
        self._engine = self._make(store, clock, dispatcher, self._scenario.max_parallel)
        self._engine.recover()
        self._witness.look(self._engine)
        for client in self._clients:
            if not client.acknowledged:
                client.call(self._engine)

    def _revive(self) -> None:
        while True:
            self._crashes += 1
            self._life.alive = False
            self._executor.disconnect()
            assert self._fate.struck is not None, "a crash is always one that was planned"
            if self._fate.struck.power_loss:
                self._lose_power()
            try:
                self._begin_life()
                return
            except Crash:
                continue

    def _lose_power(self) -> None:
        self._disk.lose_power()
        self._boots += 1
        self._clock.reboot(f"boot-{self._boots}", downtime=DOWNTIME_SECONDS)
        self._executor.restart(f"executor-{self._boots}", Reason.HOST_RESTARTED)
        self._interrupted |= self._witness.power_lost()
        self._witness.expect_kept(self._executor.settled)
        for client in self._clients:
            if client.acknowledged and client.cancel == 0:
                self._witness.expect_group(client.submission.id)
            elif client.acknowledged:
                self._witness.expect_cancel(client.submission.id, client.cancel)

    def _played(self) -> Played:
        ids = [item.id for item in self._scenario.submissions]
        records = {id: record for id in ids if (record := self._disk.store.group(id)) is not None}
        return Played(
            began=self._began.wall,
            results={id: self.engine.result(id) for id in records},
            records=records,
            events={id: list(self._disk.store.events(id, limit=1_000_000)) for id in records},
            executor=self._executor,
            disk=self._disk,
            complaints=[*self._witness.complaints, *self._executor.complaints],
            crashes=self._crashes,
            boots=self._boots,
            steps=self._fate.steps,
            interrupted=frozenset(self._interrupted),
        )
