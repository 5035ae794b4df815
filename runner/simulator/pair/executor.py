"""The runner that carries out what another one forwards: the real engine, and the real service for other runners on a virtual loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from drivers.base import SimpleDriver, Spec, TaskContext
from drivers.registry import Registry
from runner.config.service import Limits, Rule, Scope, Service
from runner.engine import guests
from runner.engine.engine import Engine
from runner.engine.guests import Origin
from runner.errors import DriverError, RunnerError, StoreError, SupersededError, UnavailableError
from runner.logs.base import LogStore
from runner.masking import Masker
from runner.model import codec
from runner.model.dispatch import WHOLE, AttemptId, Finished, Noticed, Started, Told
from runner.model.event import Kind
from runner.model.log import LogSink
from runner.model.result import Outcome
from runner.model.session import Reported
from runner.model.value import Value
from runner.rpc import peerwire
from runner.rpc.identity import Identity
from runner.rpc.identity import Kind as Proved
from runner.rpc.peering import PeerServicer
from runner.rpc.policy import Policy
from runner.rpc.premises import Premises
from runner.rpc.traffic import Traffic
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor, _Execution
from runner.simulator.life import Crash, LivingClock
from runner.simulator.pair.faults import PairFaults
from runner.simulator.pair.line import Line, Session
from runner.simulator.pair.loop import VirtualLoop
from runner.simulator.pair.machine import Machine
from runner.simulator.pair.node import Node
from runner.simulator.scenario import PEER_LABELS, Scenario
from runner.simulator.store import CrashingStore
from runner.simulator.world import plain_id
from runner.store.base import Batch
from runner.workspaces import Workspaces

EXECUTOR_SEALER = Sealer(bytes(range(32, 64)))
ORIGIN = Origin(caller="cloud", node="origin-node", name="cloud-1")
_RULES = (Rule(callers=(ORIGIN.caller,), scopes=frozenset({Scope.DISPATCH})),)
_WORD = "found-only-later"
"""What some attempts print in clear, and is masked afterwards."""


class ScriptedType(SimpleDriver[Spec]):
    """Says that there is such a task type. What becomes of its tasks is in scripts."""

    type = "scripted"

    async def run(self, ctx: TaskContext, spec: Spec) -> Mapping[str, str | Value] | Outcome:
        raise DriverError("tasks of this type are carried out by a ScriptedExecutor")


class Folders(Workspaces):
    """Workspaces that are only names."""

    def __init__(self) -> None:
        self.held: set[tuple[str, str]] = set()

    def shared(self, whose: str, group: str) -> Path:
        self.held.add((whose, group))
        return Path("/workspaces") / group

    def kept(self, origin: str, most: int) -> list[str]:
        return sorted(group for whose, group in self.held if whose == origin)[:most]

    def release(self, whose: str, group: str, keep_seconds: float = 0.0) -> None:
        self.held.discard((whose, group))


class PrintingExecutor(ScriptedExecutor):
    """Its attempts print when they start, now and then, and when they end; of some a word is masked at their end that was printed."""

    def __init__(
        self, machine: Machine, scripts: Callable[[AttemptId], Any], logs: LogStore, chance: int, **more: Any
    ) -> None:
        super().__init__(machine, scripts, **more)
        self._machine = machine
        self._logs = logs
        self._seed = chance
        self._sinks: dict[AttemptId, tuple[LogSink, Masker]] = {}

    def restart(self, instance: str, reason: str = "supervisor_lost") -> None:
        super().restart(instance, reason)
        self._sinks.clear()

    def _start(self, execution: _Execution) -> None:
        super()._start(execution)
        id = execution.dispatch.id
        chance = Random(f"{self._seed} {id}")
        self._print(id, "starts")
        for number in range(chance.choice((0, 1, 3))):
            at = self._machine.now().boot + chance.uniform(0.0, execution.course.script.duration)
            self._machine.call_at(at, partial(self._print_of, execution, f"goes on {number}"))

    def _print_of(self, execution: _Execution, text: str) -> None:
        if execution.ended is None and self._executions.get(execution.dispatch.id) is execution:
            self._print(execution.dispatch.id, text)

    def _finish(self, execution: _Execution, outcome: Outcome) -> None:
        id = execution.dispatch.id
        if execution.started_wall is not None:
            self._print(id, "ends")
        if id in self._sinks:
            self._sinks.pop(id)[0].close()
        if Random(f"redacts {self._seed} {id}").random() < 0.3:
            masker = Masker()
            masker.add(_WORD)
            for redaction in self._logs.redact(id, masker):
                execution.sequence += 1
                fields = {"stream": redaction.stream, "marks": redaction.marks, "offset": redaction.offset}
                self._report(
                    execution, Noticed(id=id, sequence=execution.sequence, kind=Kind.LOG_REDACTED, fields=fields)
                )
        super()._finish(execution, outcome)

    def _print(self, id: AttemptId, text: str) -> None:
        if id not in self._sinks:
            masker = Masker()
            self._sinks[id] = self._logs.open(id, masker), masker
        sink = self._sinks[id][0]
        sink.write("stdout", f"{id.task} {text}, {_WORD}\n".encode())
        sink.write("stderr", f"{text}\n".encode())


class Executor(Node):
    def __init__(
        self, scenario: Scenario, slots: int, faults: PairFaults, clock: VirtualClock, line: Callable[[], Line]
    ) -> None:
        super().__init__("executor", clock, faults.executor, faults.executor_full, slots)
        self._scenario = scenario
        self._line = line
        self.guests: dict[AttemptId, AttemptId] = {}
        """The attempts that may come, by how the engine knows them."""
        for item in scenario.submissions:
            whole = ORIGIN.id(AttemptId(item.id, WHOLE, 1))
            for task in item.group.tasks:
                for number in range(1, task.retry.attempts + 1):
                    id = AttemptId(item.id, task.name, number)
                    is_whole = item.group.forward is not None
                    guest = AttemptId(whole, task.name, number) if is_whole else AttemptId(ORIGIN.id(id), task.name, 1)
                    self.guests[guest] = id
        self.known_as = {id: guest for guest, id in self.guests.items()}
        """The other way round."""
        self._runs = PrintingExecutor(
            self.machine,
            lambda guest: scenario.script(self.guests[guest]),
            self.logs,
            faults.chance,
            instance="executor-supervisor-1",
            duplicates=scenario.duplicates,
        )
        self._folders = Folders()
        self._loop: VirtualLoop | None = None
        self._servicer: PeerServicer | None = None
        self.node_id = "executor-node-1"
        self.told_starts: dict[AttemptId, str] = {}
        """The supervisor's life in which each attempt was started whose start was told last."""
        self.told_ends: Counter[AttemptId] = Counter()
        self.ends: dict[AttemptId, list[Outcome]] = {}
        """Every end that was ever recorded, by the origin's attempts."""
        self.complaints: list[str] = []

    @property
    def runs(self) -> ScriptedExecutor:
        return self._runs

    def answer(self, session: Session, first: Any) -> None:
        """The first message of a session has come."""
        if self.is_down or self._loop is None:
            session.end("it cannot be reached")
            return
        heard: asyncio.Queue[Any] = asyncio.Queue()
        heard.put_nowait(first)
        session.there.deliver = heard.put_nowait
        task = self._loop.create_task(self._serve(session, heard))

        def over() -> None:
            task.cancel()

        session.there.on_end = over

    async def _serve(self, session: Session, heard: asyncio.Queue[Any]) -> None:
        room = asyncio.Event()
        session.back.on_room = room.set
        why = "it has ended the session"
        assert self._servicer is not None, "it is there with the loop"
        caller = self._policy.admit(Identity(name=ORIGIN.caller, kind=Proved.TOKEN))
        try:
            async with aclosing(self._servicer.converse(caller, _messages(heard))) as told:
                async for message in told:
                    while session.back.is_full and not session.back.over:
                        room.clear()
                        await room.wait()
                    self._note(message)
                    session.back.send(message)
        except RunnerError as error:
            why = f"it says: {error.message}"
            if not isinstance(error, StoreError | SupersededError | UnavailableError):
                self.complaints.append(f"a session was ended: {why}")
        except Exception as error:  # noqa: BLE001 - nothing of that kind is expected of a session
            why = "it has an internal error"
            self.complaints.append(f"a session was ended by {type(error).__name__}: {error}")
        finally:
            session.end(why)

    def _note(self, message: Any) -> None:
        said = peerwire.from_executor_from_proto(message)
        if isinstance(said, Reported) and isinstance(said.report, Started):
            self._note_start(said.report.id)
        elif isinstance(said, Reported) and isinstance(said.report, Told):
            for fact in said.report.facts:
                if fact.event.kind is Kind.TASK_STARTED:
                    self._note_start(AttemptId(said.report.id.group, fact.event.task or "", fact.event.attempt or 0))
        elif isinstance(said, Reported) and isinstance(said.report, Finished):
            self.told_ends[said.report.id] += 1

    def _note_start(self, id: AttemptId) -> None:
        lives = [life for life, guest in self._runs.starts if guest == self.known_as[id]]
        if lives:
            self.told_starts[id] = lives[-1]

    def _make(self, clock: LivingClock, store: CrashingStore) -> Engine:
        here = self._here()
        engine = Engine(
            store=store,
            clock=clock,
            dispatcher=here,
            sealer=EXECUTOR_SEALER,
            max_parallel=self.slots,
            hide_id=plain_id,
            most_at_once=self._scenario.most_at_once,
        )
        self._policy = Policy(_RULES)
        premises = Premises(
            engine=engine,
            logs=self.logs,
            registry=Registry([ScriptedType()]),
            workspaces=self._folders,
            clock=clock,
            sealer=EXECUTOR_SEALER,
            node_id=self.node_id,
            instance=self.node_id,
            started_at=clock.now().wall,
        )
        service = Service(name="onprem-1", labels=PEER_LABELS, rules=_RULES)
        self._servicer = PeerServicer(premises, service, Traffic(Limits()), lambda: self._policy)
        return engine

    def _begun(self, clock: LivingClock) -> None:
        self._loop = _Mortal(clock, self)

    def _ended(self) -> None:
        self._runs.disconnect()
        self._line().executor_gone()
        loop, self._loop, self._servicer = self._loop, None, None
        if loop is not None:
            loop.end()
            self._faults(loop)

    def _lost(self, interrupted: frozenset[Any], *, restored: bool) -> None:
        if restored:
            self.node_id = f"executor-node-{self.boots}"

    def _faults(self, loop: VirtualLoop) -> None:
        self.complaints += [
            f"the executor's loop: {type(fault).__name__}: {fault}"
            for fault in loop.faults
            if not isinstance(fault, Crash)
        ]
        loop.faults.clear()

    def finish(self) -> None:
        """All is over: what was raised that nobody has taken becomes a complaint."""
        if self._loop is not None:
            self._loop.end()
            self._faults(self._loop)

    def _committed(self, batch: Batch) -> None:
        super()._committed(batch)
        for attempt in batch.attempts:  # of one that is tried again there its task's row tells nothing
            guest = AttemptId(attempt.group, attempt.task, attempt.attempt)
            if attempt.status.terminal and attempt.outcome and guest in self.guests:
                self.ends.setdefault(self.guests[guest], []).append(codec.decode_outcome(attempt.outcome))
        for row in batch.tasks:
            guest = AttemptId(row.group, row.name, max(1, row.attempt))
            if row.status.terminal and guest in self.guests:
                outcome = guests.outcome(row, EXECUTOR_SEALER)
                self.ends.setdefault(self.guests[guest], []).append(outcome)


class _Mortal(VirtualLoop):
    """Its process dies wherever its engine does, also where that was called by a task that keeps what is raised."""

    def __init__(self, clock: LivingClock, node: Executor) -> None:
        super().__init__(clock)
        self._life = node.life

    def run_handle(self, handle: asyncio.Handle) -> None:
        lived = self._life.alive
        super().run_handle(handle)
        if lived and not self._life.alive:
            raise Crash("its engine died in a task")


async def _messages(heard: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while True:
        yield await heard.get()
