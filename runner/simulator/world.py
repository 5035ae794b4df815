"""A world for one scenario: clients, an engine that crashes and is started again, a disk and an executor that survive it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from msgspec import Struct

from runner.clock import Clock, Moment
from runner.dispatch.base import Dispatcher
from runner.engine.engine import Engine
from runner.engine.targets import Targets
from runner.errors import GroupNotFoundError, StoreError
from runner.model.dispatch import AttemptId
from runner.model.event import Event
from runner.model.result import Outcome, Reason, TaskGroupResult
from runner.sealing import Sealer
from runner.simulator.clients import PATIENCE_SECONDS, Client, Onlooker
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.life import Crash, Fate, Life, LivingClock, LivingDispatcher
from runner.simulator.scenario import (
    HERE_LABELS,
    NO_FAULTS,
    PEER,
    PEER_LABELS,
    Faults,
    Scenario,
)
from runner.simulator.store import CrashingStore, Disk
from runner.simulator.targets import Link, ScriptedTargets
from runner.simulator.witness import Witness
from runner.store.base import GroupRecord, Store

SEALER = Sealer(bytes(range(32)))

Engines = Callable[[Store, Clock, Targets, Scenario], Engine]
"""How a world makes the engine of each life: from its store, its clock and the runners that it reaches."""


def plain_id(caller: str, public_id: str) -> str:
    """For callers of whom no two choose the same."""
    return public_id


def make_engine(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
    return Engine(
        store=store,
        clock=clock,
        dispatcher=targets.here,
        targets=targets,
        sealer=SEALER,
        max_parallel=scenario.max_parallel,
        hide_id=plain_id,
        most_at_once=scenario.most_at_once,
    )


class Played(Struct, frozen=True, kw_only=True):
    """What is left when nothing happens any more. `began` is the wall time at which the scenario's time is 0."""

    began: float
    results: Mapping[str, TaskGroupResult]
    records: Mapping[str, GroupRecord]
    events: Mapping[str, list[Event]]
    executor: ScriptedExecutor
    peer: ScriptedExecutor
    """Of the other runner."""
    complaints: list[str]
    faults: Faults
    crashes: int
    seconds: float
    steps: int
    interrupted: frozenset[AttemptId]
    """Attempts that were not finished, by the disk, when the power was lost."""
    forgotten_stops: frozenset[AttemptId]
    """Attempts that an engine stopped which crashed before it could write that down."""
    stop_reasons: frozenset[str | None] = frozenset({None})
    """What a task may say of why it was stopped, where that is forgotten."""
    other_ends: tuple[Outcome, ...] = ()
    """Ends that what ran on the other runner may have come to as well."""
    told: Mapping[str, float]
    """When whoever waited for each group was told that it is over, also where that could not be written; wall time."""


@dataclass(order=True, slots=True)
class _Action:
    at: float
    order: int
    client: Client = field(compare=False)


class World:
    def __init__(self, scenario: Scenario, faults: Faults = NO_FAULTS, make: Engines = make_engine) -> None:
        self._scenario = scenario
        self._faults = faults
        self._make = make
        self._clock = VirtualClock()
        self._began: Moment = self._clock.now()
        self._fate = Fate(faults.crashes)
        began = self._began.wall
        self._disk = Disk(self._clock, [(began + start, began + end) for start, end in faults.full_disk])
        self._executor = ScriptedExecutor(
            self._clock, scenario.script, duplicates=scenario.duplicates, reports_die=scenario.reports_die
        )
        self._peer = ScriptedExecutor(
            self._clock.elsewhere(), scenario.script, name=PEER, instance="peer-1", duplicates=scenario.duplicates
        )
        self._outages = [(began + start, began + end) for start, end in faults.outages]
        self._witness = Witness(self._disk, scenario.max_parallel)
        self._actions: list[_Action] = []
        self._order = itertools.count()
        self._clients: dict[int, Client] = {}
        """Those that have begun to call, in that order."""
        self._life = Life(self._fate)
        self._engine: Engine | None = None
        self._crashes = 0
        self._boots = 1
        self._interrupted: set[AttemptId] = set()

    def play(self) -> Played:
        """Let everything happen that will, until no timer is left."""
        for submission in self._scenario.submissions:
            calls = [submission.at, *sorted(submission.cancels)]
            for number, at in enumerate(calls):
                self._plan(at, Client(submission, number))
            for signal in submission.signals:
                self._plan(signal.at, Client(submission, signal=signal))
        self._survive(self._begin_life)
        while self._actions:
            action = heapq.heappop(self._actions)
            self._survive(partial(self._pass_time, self._began.wall + action.at))
            self._clients[id(action.client)] = action.client
            self._survive(partial(self._act, action.client))
            if not self._actions:
                self._survive(self._clock.run_until_idle)
        return self._played()

    def _plan(self, at: float, client: Client) -> None:
        client.made = False
        heapq.heappush(self._actions, _Action(at, next(self._order), client))

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

    def _act(self, client: Client) -> None:
        # After a crash in the middle of it the call was repeated already, when the engine came back.
        if not client.made:
            self._call(client)
            self._witness.look(self.engine)

    def _call(self, client: Client) -> None:
        def answer(error: Exception | None) -> None:
            if error is None:
                client.acknowledged = True
            else:
                self._plan(self._now() + PATIENCE_SECONDS, client)

        client.made_at = self._now()
        try:
            client.call(self.engine, answer)
        except (StoreError, GroupNotFoundError):
            if client.signal is not None:
                client.acknowledged = True  # there is nobody who could have it
                return
            # The disk is full; or so it was when the group was to be submitted, and the cancel came before the repetition.
            self._plan(self._now() + PATIENCE_SECONDS, client)

    def _now(self) -> float:
        return self._clock.now().wall - self._began.wall

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "an engine is made before anything else happens"
        return self._engine

    def _begin_life(self) -> None:
        self._life = life = Life(self._fate)
        self._witness.new_life()
        clock = LivingClock(self._clock, life)
        store = CrashingStore(self._disk, self._clock, life, self._witness.committed)
        witness = self._witness

        def living(dispatcher: Dispatcher) -> LivingDispatcher:
            return LivingDispatcher(dispatcher, life, witness.submitting, witness.cancelling, self._signalled)

        targets = ScriptedTargets(living(self._executor), labels=HERE_LABELS)
        if self._scenario.forwards:
            link = self._link(clock)
            targets.add(link, labels=PEER_LABELS, reached_by=living(link))
        self._engine = self._make(store, clock, targets, self._scenario)
        for submission in self._scenario.submissions:
            self._engine.subscribe(submission.id, partial(self._wait_for_end, self._engine, submission.id))
        onlookers = [Onlooker(self._engine, clock, item) for item in self._scenario.submissions if item.pauses]
        self._engine.recover()
        for onlooker in onlookers:
            onlooker.look()
        self._witness.look(self._engine)
        for client in self._clients.values():
            if client.made and not client.acknowledged:
                self._call(client)

    def _link(self, clock: LivingClock) -> Link:
        """The connection of the present life, which breaks and comes back when its time has come."""
        now = clock.now()
        up = not any(start <= now.wall < end for start, end in self._outages)
        link = Link(self._peer, clock, lost_after=self._scenario.lost_after, up=up)
        for start, end in self._outages:
            for wall, happens in ((start, link.breaks), (end, link.comes_back)):
                if wall > now.wall:
                    clock.call_at(now.boot + (wall - now.wall), happens)
        return link

    def _signalled(self, id: AttemptId, signal: str) -> None:
        calls = [
            (client, client.signal.signal)
            for client in self._clients.values()
            if client.signal is not None and (client.submission.id, client.signal.task) == (id.group, id.task)
        ]
        if signal == "destroy":
            for client, wanted in calls:
                client.acknowledged = client.acknowledged or wanted == signal
        elif {wanted for client, wanted in calls if client.made_at == self._now()} <= {signal, "destroy"}:
            self._witness.pausing(id, signal == "pause")  # of several at once only the last is on the disk

    def _wait_for_end(self, engine: Engine, group: str) -> None:
        if engine.unwritten_end(group) is not None:
            self._witness.heard_end(group)

    def _revive(self) -> None:
        while True:
            self._crashes += 1
            self._life.alive = False
            self._executor.disconnect()
            self._peer.disconnect()
            assert self._fate.struck is not None, "a crash is always one that was planned"
            if self._fate.struck.power_loss:
                self._lose_power(self._fate.struck.downtime)
            elif self._fate.struck.downtime:
                self._clock.run_until(self._clock.now().boot + self._fate.struck.downtime)
            try:
                self._begin_life()
                return
            except Crash:
                continue

    def _lose_power(self, downtime: float) -> None:
        self._disk.lose_power()
        self._boots += 1
        self._clock.reboot(f"boot-{self._boots}", downtime=downtime)
        self._executor.restart(f"executor-{self._boots}", Reason.HOST_RESTARTED)
        self._interrupted |= self._witness.power_lost()
        self._witness.expect_kept({**self._executor.settled, **self._peer.settled})
        for client in self._clients.values():
            if client.signal is not None:
                continue
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
            peer=self._peer,
            complaints=[*self._witness.complaints, *self._executor.complaints, *self._peer.complaints],
            crashes=self._crashes,
            faults=self._faults,
            seconds=self._clock.now().wall - self._began.wall,
            steps=self._fate.steps,
            interrupted=frozenset(self._interrupted),
            forgotten_stops=frozenset(self._witness.forgotten_stops),
            told=self._witness.told,
        )
