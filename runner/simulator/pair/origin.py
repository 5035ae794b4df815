"""The runner that groups are submitted to, and that forwards tasks of them: the real engine, choice of peers and `RemoteDispatcher`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from drivers.registry import Registry
from runner.client.link import GREETING_SECONDS, LONGEST_WAIT_SECONDS
from runner.client.patience import FACTOR, FIRST_SECONDS
from runner.clock import Clock
from runner.dispatch.remote import RemoteDispatcher
from runner.engine.engine import Engine
from runner.engine.targets import Targets
from runner.model.dispatch import AttemptId
from runner.model.session import ExecutorHello, FromOrigin, Submit
from runner.peers import Own, Peers
from runner.rpc import peerwire
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.life import Life, LivingClock
from runner.simulator.pair.executor import ScriptedType
from runner.simulator.pair.faults import PairFaults
from runner.simulator.pair.line import Line, Session
from runner.simulator.pair.node import Node
from runner.simulator.scenario import HERE_LABELS, PEER, Scenario
from runner.simulator.store import CrashingStore
from runner.simulator.world import SEALER, plain_id

CALLER = "cloud"
"""Who the origin is to its executor."""
NODE = "origin-node"


class Contact:
    """A session for its origin, from when that was greeted, in seconds since the epoch."""

    def __init__(self, begin: float, session: Session) -> None:
        self.begin = begin
        self.noticed = math.inf
        """When it was over for the origin."""
        self._session = session

    @property
    def end(self) -> float:
        """From when on nothing passed any more."""
        return min(self.noticed, self._session.cut_at)


Remotes = Callable[..., RemoteDispatcher]
Engines = Callable[..., Engine]


class Origin(Node):
    def __init__(
        self, scenario: Scenario, faults: PairFaults, clock: VirtualClock, line: Callable[[], Line], remote: Remotes
    ) -> None:
        super().__init__("origin", clock, faults.origin, faults.origin_full, scenario.max_parallel)
        self._scenario = scenario
        self._line = line
        self._make_remote = remote
        self._runs = ScriptedExecutor(
            self.machine, scenario.script, duplicates=scenario.duplicates, reports_die=scenario.reports_die
        )
        self._chance = Random(f"origin {faults.chance}")
        self.contacts: list[Contact] = []
        self.interrupted: set[AttemptId] = set()
        """What ran on its own machine when the power was lost."""
        self.on_begin: Callable[[Engine], None] = lambda engine: None
        self.on_lost: Callable[[], None] = lambda: None

    @property
    def runs(self) -> ScriptedExecutor:
        return self._runs

    def _make(self, clock: LivingClock, store: CrashingStore) -> Engine:
        here = self._here()
        remote = self._make_remote(
            PEER, node=NODE, own_name="cloud-1", clock=clock, logs=self.logs, lost_after=self._scenario.lost_after
        )
        own = Own(
            dispatcher=here,
            types=Registry([ScriptedType()]),
            labels=lambda: HERE_LABELS,
            load=lambda: engine.load,
        )
        targets: Targets = Peers(own, [remote])
        engine = Engine(
            store=store,
            clock=clock,
            dispatcher=here,
            targets=targets,
            sealer=SEALER,
            max_parallel=self.slots,
            hide_id=plain_id,
            most_at_once=self._scenario.most_at_once,
        )
        remote.when_ready(_Dialler(self, remote, clock, self.life, self._line(), self._chance).dial)
        return engine

    def _begun(self, clock: LivingClock) -> None:
        assert self.engine is not None, "it was made just now"
        self.witness.look(self.engine)
        self.on_begin(self.engine)

    def _ended(self) -> None:
        self._runs.disconnect()
        self._line().origin_gone()
        self.lost_contact()

    def _lost(self, interrupted: frozenset[Any], *, restored: bool) -> None:
        self.interrupted |= interrupted
        self.witness.expect_kept(self._runs.settled)
        self.on_lost()

    @property
    def is_in_contact(self) -> bool:
        return bool(self.contacts) and math.isinf(self.contacts[-1].end)

    def made_contact(self, session: Session) -> None:
        self.contacts.append(Contact(self.machine.now().wall, session))

    def lost_contact(self) -> None:
        if self.contacts and math.isinf(self.contacts[-1].noticed):
            self.contacts[-1].noticed = self.machine.now().wall


class _Dialler:
    """One session after the other for one life of the origin: the twin of `runner.client.link.Link`, which has gRPC under it."""

    def __init__(
        self, origin: Origin, party: RemoteDispatcher, clock: Clock, life: Life, line: Line, chance: Random
    ) -> None:
        self._origin = origin
        self._party = party
        self._clock = clock
        self._life = life
        self._line = line
        self._chance = chance
        self._session: Session | None = None
        self._is_greeted = False
        self._tries = 0

    def dial(self) -> None:
        session = self._session = self._line.dial()
        self._is_greeted = False
        if session is None:
            self._over(None, "it cannot be reached")
            return
        session.back.deliver = lambda message: self._life.guard(partial(self._heard, session, message))()
        session.back.on_end = self._life.guard(lambda: self._over(session, session.why))
        self._send(session, self._party.greeting())
        self._clock.call_at(self._clock.now().boot + GREETING_SECONDS, lambda: self._tired(session))

    def _send(self, session: Session, said: FromOrigin) -> None:
        def step() -> None:
            if isinstance(said, Submit):
                self._origin.witness.sending(said)
            session.there.send(peerwire.from_origin_to_proto(said))

        self._life.step(step)

    def _heard(self, session: Session, message: Any) -> None:
        if session is not self._session:
            return
        said = peerwire.from_executor_from_proto(message)
        if isinstance(said, ExecutorHello):
            self._is_greeted = True
            self._tries = 0
            self._origin.made_contact(session)
            self._party.connected(said, partial(self._send, session))
        else:
            self._party.heard(said)

    def _tired(self, session: Session) -> None:
        if session is self._session and not self._is_greeted:
            self._over(session, f"it did not answer the greeting within {GREETING_SECONDS:g} s")

    def _over(self, session: Session | None, why: str) -> None:
        if session is not self._session:
            return
        if session is not None:
            session.back.abandon()
            session.there.end(self._line.share(session.there), 0.0)
        self._session = None
        self._origin.lost_contact()
        self._party.disconnected(why)
        wait = min(LONGEST_WAIT_SECONDS, FIRST_SECONDS * FACTOR**self._tries)
        self._tries += 1
        self._clock.call_at(self._clock.now().boot + wait * self._chance.uniform(0.5, 1.0), self.dial)
