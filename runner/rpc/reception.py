"""How an executor takes in what an origin sends: whether it may be begun here, and what is wanted of it later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from runner.config.service import Scope
from runner.engine import guests
from runner.engine.admission import Submission
from runner.engine.engine import GRACE_SECONDS
from runner.engine.guests import Origin
from runner.errors import GroupExistsError, GroupNotFoundError, RunnerError, UsageError
from runner.model import references, taskparse
from runner.model.dispatch import SIGNALS, WHOLE, AttemptId, GroupDispatch
from runner.model.fault import Fault, Faults, spell_path
from runner.model.group import TaskGroup
from runner.model.limits import Limits
from runner.model.result import Reason, Status
from runner.model.session import Submit, SubmitGroup, hop, is_of
from runner.model.task import Task
from runner.model.taskparse import Given
from runner.rpc import guard, policy
from runner.rpc.departures import Departures
from runner.rpc.identity import Caller
from runner.rpc.premises import Premises
from runner.rpc.submissions import SMALL_DOCUMENT_BYTES
from runner.rpc.traffic import Traffic
from runner.sealing import Sealer
from runner.store.base import GroupQuery
from runner.validation.spec import Specs

MAX_HOPS = 8
PAGE = 500
MOST_FAULTS = 1000

_UNFINISHED = frozenset({Status.PENDING, Status.RUNNING})


class RefusedError(RunnerError):
    """The attempt is not begun here."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Early:
    """Signals for guests that have not begun to run, to be passed on behind their start; whatever becomes of sessions meanwhile."""

    def __init__(self) -> None:
        self._signals: dict[str, str] = {}

    def keep(self, guest: str, signal: str) -> None:
        if self._signals.get(guest) != "destroy":
            self._signals[guest] = signal

    def of(self, guest: str) -> str | None:
        return self._signals.get(guest)

    def forget(self, guest: str) -> None:
        self._signals.pop(guest, None)

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        self._signals = {guest: signal for guest, signal in self._signals.items() if wanted(guest)}


class Reception:
    """Of one origin. `present` tells what its caller may do at present."""

    def __init__(
        self,
        premises: Premises,
        traffic: Traffic,
        origin: Origin,
        present: Callable[[], Caller],
        early: Early,
        departures: Departures,
    ) -> None:
        self._premises = premises
        self._engine = premises.engine
        self._traffic = traffic
        self._origin = origin
        self._present = present
        self._early = early
        self._departures = departures

    async def take_in(self, said: Submit | SubmitGroup) -> str:
        """The id of the guest, which was known or is now. Raises RefusedError, GroupExistsError, LimitError, UnavailableError and
        StoreError."""
        origin, engine, dispatch = self._origin, self._engine, said.dispatch
        cancels = 0 if said.cancel_grace is None else _cancels(said.cancel_grace)
        make = partial(_prepared, origin, said, self._premises.sealer, cancels)
        submission = make() if guard.size() <= SMALL_DOCUMENT_BYTES else await asyncio.to_thread(make)
        try:
            id = engine.known(submission, origin.caller)
        except GroupExistsError as error:
            raise RefusedError(
                Reason.REFUSED,
                f"conflict: {_named(dispatch.id)} is known to this runner, and asked for something else",
            ) from error
        if id is None:
            self._judge(said, submission)
            self._departures.stay(self.whose, dispatch.id.group)
            workspace = self.workspace(dispatch.id.group)
            accepted = engine.accept(
                submission, caller=origin.caller, workspace=str(workspace), traceparent=dispatch.traceparent
            )
            id = accepted.id
        elif isinstance(dispatch, GroupDispatch) and dispatch.instance != self._premises.instance:
            # Its numbers are not those that the origin has heard of.
            engine.cancel_once(id, at_once=True)
            raise RefusedError(Reason.RUNNER_LOST, _of_another_life(dispatch.id))
        elif not engine.status(id).terminal:
            self.workspace(dispatch.id.group)
            if cancels:
                engine.cancel_once(id, at_once=cancels > 1)
        if isinstance(dispatch, GroupDispatch):
            for task in dispatch.paused ^ engine.to_be_paused(id):
                self._signal_task(id, task, "pause" if task in dispatch.paused else "start")
        elif dispatch.paused is not self._is_to_pause(id, dispatch.id.task):
            self.signal(dispatch.id, "pause" if dispatch.paused else "start")
        return id

    def check(self, tasks: Sequence[Task], on_behalf_of: str) -> Sequence[Fault]:
        """What would be said of these tasks if they were submitted, one after the other; paths begin with the place of the task among
        them. May be called from any thread."""
        faults, specs = Faults(limit=MOST_FAULTS), Specs(self._premises.registry)
        for index, task in enumerate(tasks):
            if task.forward is None:
                specs.check_spec(faults, (index,), Given(type=task.type, template=task.template), task.spec)
        caller = policy.on_behalf_of(self._present(), on_behalf_of)
        if not caller.rules:
            faults.add((0,), f"no rule of this runner lets {caller.name!r} dispatch on behalf of {on_behalf_of!r}")
        else:
            for fault in policy.check(TaskGroup(tasks=tuple(tasks)), caller, scope=Scope.DISPATCH):
                faults.append(replace(fault, path=fault.path[1:]))
        return faults.all()

    def workspace(self, group: str) -> Path:
        """That of all that comes of this group of the origin, which is there now. Raises StoreError."""
        return self._premises.workspaces.shared(self.whose, group)

    async def release(self, group: str, ending: Collection[str]) -> None:
        """Of this group nothing is wanted any more; `ending` are the guests of it that were told to end."""
        await self._departures.release(self.whose, group, ending)

    def cancel(self, attempt: AttemptId, grace: float) -> str | None:
        """The id of the guest; None where it is not known."""
        id = self._find(attempt)
        if id is not None:
            self._engine.cancel_once(id, at_once=_cancels(grace) > 1)
        return id

    def signal(self, attempt: AttemptId, signal: str) -> None:
        """Raises UsageError."""
        if signal not in SIGNALS:
            raise UsageError(f"there is no signal {signal[:200]!r}; there are {', '.join(SIGNALS)}")
        id = self._find(attempt)
        if id is None:
            whole = self._find(attempt._replace(task=WHOLE, attempt=1))
            if whole is not None:
                self._signal_task(whole, attempt.task, signal)
        elif not self._engine.status(id).terminal and not self._engine.signal(id, attempt.task, signal):
            self._early.keep(id, signal)

    def _signal_task(self, id: str, task: str, signal: str) -> None:
        """Of a group that is a guest: its origin has heard that the task runs, so that nothing comes early."""
        with suppress(GroupNotFoundError):  # it may name a task that there is not
            self._engine.signal(id, task, signal)

    def pass_on(self, guest: AttemptId) -> None:
        """What came early for this guest, if it runs by now."""
        signal = self._early.of(guest.group)
        if signal is not None and self._engine.signal(guest.group, guest.task, signal):
            self._early.forget(guest.group)

    async def unfinished(self) -> AsyncIterator[tuple[AttemptId, AttemptId]]:
        """The guests of the origin that run or wait here: as the engine knows them, and as the origin does."""
        query = GroupQuery(limit=PAGE, caller=self._origin.caller, statuses=_UNFINISHED)
        while True:
            page = self._engine.list(query)
            for row in page.rows:
                attempt = self._origin.attempt(row.public_id) if guests.is_guest(row.id) else None
                if attempt is not None:
                    yield AttemptId(row.id, attempt.task, 1), attempt
            if page.next is None:
                return
            query = replace(query, before=page.next)
            await asyncio.sleep(0)

    def _judge(self, said: Submit | SubmitGroup, submission: Submission) -> None:
        """Of one that is not known: whether it may be begun here. Raises RefusedError, LimitError, UnavailableError."""
        dispatch, premises = said.dispatch, self._premises
        if dispatch.instance != premises.instance:
            raise RefusedError(Reason.RUNNER_LOST, _of_another_life(dispatch.id))
        self._judge_chain(said)
        for task in submission.group.tasks:
            if task.forward is None and not task.joins and premises.registry.get(task.type) is None:
                raise RefusedError(Reason.UNKNOWN_TYPE, premises.registry.lack(task.type))
        caller = policy.on_behalf_of(self._present(), dispatch.on_behalf_of)
        if not caller.rules:
            message = f"no rule of this runner lets {caller.name!r} dispatch on behalf of {dispatch.on_behalf_of!r}"
            raise RefusedError(Reason.REFUSED, message)
        for fault in policy.check(submission.group, caller, scope=Scope.DISPATCH):
            hint = f" ({fault.hint})" if fault.hint else ""
            raise RefusedError(Reason.REFUSED, f"{fault.message}{hint}")
        size = len(submission.document) + len(submission.sealed)
        self._traffic.check_groups(self._engine, self._origin.caller, size)

    def _judge_chain(self, said: Submit | SubmitGroup) -> None:
        node = self._premises.node_id
        circle = self._origin.node == node or any(is_of(came, node) for came in said.hops)
        if circle or len(said.hops) > MAX_HOPS:
            chain = " → ".join((*said.hops, hop(self._engine.name, node)))
            why = "goes in a circle" if circle else f"is longer than {MAX_HOPS}"
            raise RefusedError(Reason.REFUSED, f"the chain of runners {why}: {chain}")

    def _find(self, attempt: AttemptId) -> str | None:
        return self._engine.find(self._origin.caller, self._origin.public_id(attempt))

    def _is_to_pause(self, id: str, task: str) -> bool:
        return self._early.of(id) == "pause" or self._engine.is_to_pause(id, task)

    @property
    def whose(self) -> str:
        """What tells the origin from others who share workspaces here. Who it is was proved, which node it is was said."""
        return f"{self._origin.caller}\0{self._origin.node}"


def _prepared(origin: Origin, said: Submit | SubmitGroup, sealer: Sealer, cancels: int) -> Submission:
    """Raises RefusedError."""
    if isinstance(said, Submit):
        return guests.prepared(origin, said, sealer, cancels)
    group = said.dispatch.group
    faults, most = Faults(limit=1), Limits().tasks
    if not 0 < len(group.tasks) <= most:
        faults.add(("taskGroup",), f"the group has {len(group.tasks):,} tasks, and may have 1 to {most:,}")
    references.check(faults, ("taskGroup",), group.tasks, [{}] * len(group.tasks))  # there is no text to point to
    for index, task in enumerate(group.tasks):
        if not taskparse.is_possible(task.retry):
            faults.add(("taskGroup", index, "retry"), "its numbers are none that a document may have")
        if task.matrix is not None and task.matrix.max_parallel is not None and task.matrix.max_parallel < 1:
            faults.add(("taskGroup", index, "matrix"), "expected at least one instance at once")
    if set(said.dispatch.inputs) != {item.name for item in group.inputs}:
        faults.add(("inputs",), "those that are declared, and no others, have to have values")
    for fault in faults.all():
        where = spell_path(fault.path)
        raise RefusedError(Reason.REFUSED, f"the group cannot be carried out: {where}: {fault.message}")
    try:
        return guests.prepared_group(origin, said, sealer, cancels)
    except UsageError as error:
        raise RefusedError(Reason.REFUSED, f"the group cannot be carried out: {error.message}") from error


def _of_another_life(attempt: AttemptId) -> str:
    return f"{_named(attempt)} was given to another life of this runner, which may have begun it"


def _named(attempt: AttemptId) -> str:
    return f"the group {attempt.group}" if attempt.task == WHOLE else f"the attempt {attempt}"


def _cancels(grace: float) -> int:
    """How often a caller would have to cancel for that: with less than the usual grace it is the second time."""
    return 2 if grace < GRACE_SECONDS else 1
