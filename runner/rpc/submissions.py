"""Groups on their way in: submitted, done again, or only looked at. Who is asking has been settled before (`guard`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from runner import validation
from runner.engine import again
from runner.engine.admission import Submission
from runner.engine.engine import Engine
from runner.errors import DocumentError, ForbiddenError, UnavailableError, UsageError
from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.rpc import convert, guard, naming, policy
from runner.rpc.identity import Caller
from runner.rpc.premises import Premises
from runner.rpc.traffic import Traffic
from runner.store.base import GroupHead
from runner.v1 import runner_pb2 as pb
from runner.validation import Loaded
from runner.validation.forwarding import unknown_runners

T = TypeVar("T")

LONGEST_UPLOAD_ID = 64
SMALL_DOCUMENT_BYTES = 8 << 10
"""Read at once; a larger one in a thread."""
MOST_READERS = 2
"""How many documents are read at once beside the loop."""
RECORDING_SECONDS = 2.0
"""How long a call waits before it looks whether anything can be recorded."""
STUCK_SECONDS = 5.0
LONGEST_SOURCE_CHARS = 4096
"""Every fault of a document says where it is from."""


class Submissions:
    def __init__(self, premises: Premises, traffic: Traffic) -> None:
        self._premises = premises
        self._engine = premises.engine
        self._traffic = traffic
        self._reading = asyncio.Semaphore(MOST_READERS)

    async def submit(self, request: pb.SubmitTaskGroupRequest, traceparent: str) -> pb.SubmitTaskGroupResponse:
        caller = guard.caller()
        self._traffic.check_staying()
        _check_upload_id(request.workspace_id)
        document = request.document  # a copy each time that it is asked for
        loaded = await self._load(document, request.source, caller)
        public_id = naming.id_of(loaded.group, request)
        group = replace(loaded.group, id=public_id, labels=naming.labels_of(loaded.group, request))
        known_as = self._engine.id_for(caller.name, public_id)
        submission, size = await self.beside(
            guard.size(), partial(self._prepared, group, len(document), request, known_as)
        )
        known = self._engine.known(submission, caller.name)
        if known is None:  # else nothing depends any more on what others say
            await self._heard_of_peers(loaded.written, document, request.source, caller)
            self._traffic.check_groups(self._engine, caller.name, size)
            id = self._engine.id_for(caller.name, public_id)
            with self._premises.workspaces.provided(id, caller.name, request.workspace_id) as workspace:
                self._engine.accept(submission, caller=caller.name, workspace=str(workspace), traceparent=traceparent)
        await durable(self._engine)
        warnings = [convert.fault_to_proto(fault) for fault in loaded.warnings]
        return pb.SubmitTaskGroupResponse(id=public_id, existed=known is not None, warnings=warnings)

    def _prepared(
        self, group: TaskGroup, document_bytes: int, request: pb.SubmitTaskGroupRequest, id: str
    ) -> tuple[Submission, int]:
        """And how large the document and its inputs are together."""
        inputs = dict(request.inputs)
        size = document_bytes + sum(len(name) + len(text.encode()) for name, text in inputs.items())
        submission = replace(self._engine.prepared(group, inputs, id), pause_on_failure=request.pause_on_failure)
        return submission, size

    async def rerun(
        self, head: GroupHead, request: pb.RerunTaskGroupRequest, traceparent: str
    ) -> pb.RerunTaskGroupResponse:
        """`head` is of the group that is asked for."""
        caller = guard.caller()
        self._traffic.check_staying()
        if head.group.caller != caller.name:  # his would be its secrets then
            raise ForbiddenError(
                "a group is done again by whoever submitted it, and by nobody else: submit one of your own"
            )
        _check_upload_id(request.workspace_id)
        public_id = naming.checked_id(request.new_id or request.spare_id)
        id = self._engine.id_for(caller.name, public_id)
        record = self._engine.record_of(head.group.id)
        size = len(record.group.document) + len(record.group.inputs)
        prepare = partial(again.prepare, record, self._premises.sealer, id, public_id, tuple(request.tasks))
        prepared = await self.beside(size, prepare)
        submission = prepared.submission
        if (known := self._engine.known(submission, caller.name)) is None:
            if self._engine.id_for(caller.name, public_id) != id:  # somebody else has taken it meanwhile
                raise UnavailableError("another group came to have this id at the same moment", retry_after=0.0)
            if faults := self._judged(submission.group, "taskGroup", caller):
                raise DocumentError(tuple(faults))
            self._traffic.check_groups(self._engine, caller.name, size)
            with self._premises.workspaces.provided(id, caller.name, request.workspace_id) as workspace:
                self._engine.accept(submission, caller=caller.name, workspace=str(workspace), traceparent=traceparent)
        await durable(self._engine)
        return pb.RerunTaskGroupResponse(
            id=public_id, existed=known is not None, tasks=len(prepared.tasks), kept=len(submission.kept)
        )

    async def validate(self, request: pb.ValidateTaskGroupRequest) -> pb.ValidateTaskGroupResponse:
        try:
            loaded = await self._load(request.document, request.source, guard.caller())
            await self._heard_of_peers(loaded.written, request.document, request.source, guard.caller())
        except DocumentError as error:
            faults = [convert.fault_to_proto(fault) for fault in error.faults if isinstance(fault, Fault)]
            return pb.ValidateTaskGroupResponse(faults=faults)
        return pb.ValidateTaskGroupResponse(
            faults=[convert.fault_to_proto(fault) for fault in loaded.warnings],
            valid=True,
            name=loaded.group.name,
            tasks=len(loaded.group.tasks),
        )

    async def _heard_of_peers(self, group: TaskGroup, document: bytes, source: str, caller: Caller) -> None:
        """Raises DocumentError where the runners that it goes to do not take what is forwarded to them."""
        if group.forward is None and not any(task.forward is not None for task in group.tasks):
            return
        told = await self._premises.others.check(group, caller.name)
        if told:  # their places in the text are found by reading it again
            await self._load(document, source, caller, told)

    async def _load(self, document: bytes, source: str, caller: Caller, told: Sequence[Fault] = ()) -> Loaded:
        """`told` is what others have found of its tasks; paths begin with the place of the task."""

        def judged(group: TaskGroup, tasks: str) -> list[Fault]:
            of_others = (replace(fault, path=(tasks, *fault.path)) for fault in told)
            return [*self._judged(group, tasks, caller), *of_others]

        if len(source) > LONGEST_SOURCE_CHARS:
            raise UsageError(
                f"a `source` has at most {LONGEST_SOURCE_CHARS:,} characters: give the name of a file, say"
            )
        load = partial(
            validation.load,
            document,
            source=source or "<document>",
            registry=self._premises.registry,
            judge=judged,
        )
        return await self.beside(len(document), load)

    def _judged(self, group: TaskGroup, tasks: str, caller: Caller) -> list[Fault]:
        """What the rules say of a group. May be called from any thread."""
        others = self._premises.others
        return [
            *policy.check(group, caller, tasks),
            *unknown_runners(group, tasks, others.names(), others.may_be_named),
        ]

    async def beside(self, size: int, work: Callable[[], T]) -> T:
        """Do what takes long for a large document where it keeps nobody waiting."""
        if size <= SMALL_DOCUMENT_BYTES:
            return work()
        async with self._reading:
            return await asyncio.to_thread(work)


def _check_upload_id(id: str) -> None:
    """Raises UsageError."""
    if len(id) > LONGEST_UPLOAD_ID:
        raise UsageError("`workspace_id` is not one that this runner has given: bring the workspace first")


async def durable(engine: Engine) -> None:
    """Until what was recorded survives a loss of power. Raises StoreError, and UnavailableError while nothing can be recorded."""
    durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: Exception | None) -> None:
        if durable.done():
            return  # nobody waits any more
        if error is None:
            durable.set_result(None)
        else:
            durable.set_exception(error)

    engine.when_durable(done)
    while not (await asyncio.wait([durable], timeout=RECORDING_SECONDS))[0]:
        if engine.is_stuck:
            durable.cancel()
            raise UnavailableError(
                "the runner cannot write its state: what was asked for is being done, and forgotten if the runner ends "
                "before it can; ask again until it is acknowledged",
                retry_after=STUCK_SECONDS,
            )
    durable.result()
