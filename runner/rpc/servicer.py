"""The methods of `runner.v1.RunnerService`. Who is asking, and whether he may, has been settled before (`guard`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias, TypeVar

import grpc
from msgspec.structs import replace

from drivers import listing
from runner import __version__
from runner.clock import rfc3339
from runner.config.service import Scope, Service
from runner.engine import turns
from runner.engine.document import read as read_document
from runner.engine.story import Part
from runner.errors import ForbiddenError, GroupNotFoundError, UsageError
from runner.model import trace
from runner.model.dispatch import DECISIONS, SIGNALS, AttemptId
from runner.model.result import Status, TaskResult
from runner.model.summary import GroupSummary
from runner.rpc import convert, guard, naming
from runner.rpc.following import Following, LogReading, Piece, Watch, read_to_the_end
from runner.rpc.identity import Caller
from runner.rpc.pages import Pages
from runner.rpc.premises import Premises
from runner.rpc.receiving import Receiver
from runner.rpc.shelling import Asked, Shelling
from runner.rpc.submissions import Submissions, durable
from runner.rpc.traffic import Traffic
from runner.rpc.wire import STATUSES, STATUSES_BACK
from runner.store.base import GroupHead, GroupQuery, GroupRow
from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_pb2_grpc

T = TypeVar("T")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic in its stubs alone

MOST_TASKS = 1000
MOST_GROUPS = 1000
USUAL_GROUPS = 100


class RunnerServicer(runner_pb2_grpc.RunnerServiceServicer):
    def __init__(self, premises: Premises, service: Service, traffic: Traffic, receiver: Receiver) -> None:
        self.service = service
        """May be replaced while it serves."""
        self._premises = premises
        self._engine = premises.engine
        self._traffic = traffic
        self._receiver = receiver
        self._pages = Pages(premises.sealer)
        self._submissions = Submissions(premises, traffic)
        self.shelling = Shelling(premises, lambda: self.service, traffic, self._submissions.beside)
        self._schemas: dict[str, str] = {}

    # Groups on their way in.

    async def SubmitTaskGroup(self, request: pb.SubmitTaskGroupRequest, context: Context) -> pb.SubmitTaskGroupResponse:
        return await self._submissions.submit(request, _traceparent(context))

    async def RerunTaskGroup(self, request: pb.RerunTaskGroupRequest, context: Context) -> pb.RerunTaskGroupResponse:
        return await self._submissions.rerun(self._visible(request.id), request, _traceparent(context))

    async def ValidateTaskGroup(
        self, request: pb.ValidateTaskGroupRequest, context: Context
    ) -> pb.ValidateTaskGroupResponse:
        return await self._submissions.validate(request)

    async def UploadWorkspace(
        self, request_iterator: AsyncIterator[pb.UploadWorkspaceRequest], context: Context
    ) -> pb.UploadWorkspaceResponse:
        self._traffic.check_staying()
        workspaces = self._premises.workspaces
        await asyncio.to_thread(workspaces.expire)
        pieces = (request.data async for request in request_iterator if request.data)
        caller = guard.caller().name
        id, unpacked = await self._receiver.receive(caller, pieces, partial(workspaces.receive, caller))
        return pb.UploadWorkspaceResponse(workspace_id=id, bytes=unpacked.bytes, entries=unpacked.entries)

    # Groups that are there.

    async def GetTaskGroup(self, request: pb.GetTaskGroupRequest, context: Context) -> pb.GetTaskGroupResponse:
        caller = guard.caller()
        head = self._visible(request.id)
        if request.reveal and head.group.caller != caller.name:
            raise ForbiddenError(
                f"confidential outputs are shown to whoever submitted the group, {head.group.caller!r}, and to nobody else: "
                "ask without them"
            )
        library = self._engine.library
        await self._at_hand(head)
        if request.tasks:
            if len(request.tasks) > MOST_TASKS:
                raise UsageError(f"at most {MOST_TASKS:,} tasks may be named: ask for the others apart, or for pages")
            page = library.named(head, request.tasks)
        else:
            count = min(request.page_size or MOST_TASKS, MOST_TASKS)
            page = library.page(head, self._pages.place(request.page_token, caller.name, request) or 0, count)
        return pb.GetTaskGroupResponse(
            group=convert.summary_to_proto(self._summary(head.group, caller, counted=head), head.last_event),
            tasks=[convert.task_to_proto(task, reveal=request.reveal) for task in self._with_silence(page.tasks)],
            next_page_token=self._pages.token(page.next, caller.name, request),
        )

    async def ExplainTaskGroup(
        self, request: pb.ExplainTaskGroupRequest, context: Context
    ) -> pb.ExplainTaskGroupResponse:
        head = self._visible(request.id)
        await self._at_hand(head)
        others = self._premises.others.states()
        if not guard.caller().may(Scope.ADMIN):  # else it names addresses
            others = [replace(peer, trouble="") for peer in others]
        told = self._engine.explain(head, request.task or None, peers=others, lost_after=self.service.lost_after)
        return convert.explanation_to_proto(replace(told, id=request.id))

    async def ListTaskGroups(self, request: pb.ListTaskGroupsRequest, context: Context) -> pb.ListTaskGroupsResponse:
        caller = guard.caller()
        labels = dict(request.labels)
        naming.check_labels(labels)
        query = GroupQuery(
            limit=min(request.page_size or USUAL_GROUPS, MOST_GROUPS),
            before=self._pages.place(request.page_token, caller.name, request),
            caller=(request.caller or None) if caller.may(Scope.ADMIN) else caller.name,
            statuses=_statuses(request),
            labels=labels,
            accepted_from=convert.seconds(request.accepted_from) if request.HasField("accepted_from") else None,
            accepted_before=convert.seconds(request.accepted_before) if request.HasField("accepted_before") else None,
        )
        page = self._engine.list(query)
        return pb.ListTaskGroupsResponse(
            groups=[convert.summary_to_proto(self._summary(row, caller)) for row in page.rows],
            next_page_token=self._pages.token(page.next, caller.name, request),
        )

    async def WatchTaskGroup(
        self, request: pb.WatchTaskGroupRequest, context: Context
    ) -> AsyncIterator[pb.WatchTaskGroupResponse]:
        id = self._visible(request.id).group.id
        wanted = Part(
            after=request.after_event,
            output=request.output,
            positions={AttemptId(id, item.task, item.attempt): item.position for item in request.positions},
            tasks=frozenset(request.tasks) or None,
        )
        with self._traffic.stream(guard.caller().name):
            watch = Watch(self._engine, self._premises.logs, self._traffic, id, wanted)
            async for message in watch.run():
                yield message

    async def ReadLog(self, request: pb.ReadLogRequest, context: Context) -> AsyncIterator[pb.ReadLogResponse]:
        id = self._visible(request.id).group.id
        attempt = self._engine.library.attempt(id, request.task, request.attempt, ahead=request.follow)
        with self._traffic.stream(guard.caller().name), self._engine.held(id):
            wanted = await self._log_reading(attempt, request)
            if request.follow:
                pieces = Following(self._engine, self._premises.logs, self._traffic, attempt, wanted).run()
            else:
                pieces = read_to_the_end(self._premises.logs, attempt, wanted)
            async for piece in pieces:
                yield pb.ReadLogResponse(chunks=_chunks(piece))

    async def CancelTaskGroup(self, request: pb.CancelTaskGroupRequest, context: Context) -> pb.CancelTaskGroupResponse:
        id = self._visible(request.id).group.id
        self._engine.cancel_once(id, at_once=request.at_once)
        await durable(self._engine)
        return pb.CancelTaskGroupResponse(status=STATUSES[self._engine.status(id)])

    async def RemoveTaskGroup(self, request: pb.RemoveTaskGroupRequest, context: Context) -> pb.RemoveTaskGroupResponse:
        await self._premises.remove(self._visible(request.id).group.id)
        await durable(self._engine)
        return pb.RemoveTaskGroupResponse()

    async def Shell(
        self, request_iterator: AsyncIterator[pb.ShellRequest], context: Context
    ) -> AsyncIterator[pb.ShellResponse]:
        caller = guard.caller()

        def find(start: pb.ShellStart) -> Asked:
            head = self._visible(start.id)
            return Asked(
                group=head.group.id,
                known_as=head.group.id,
                attempt=start.attempt,
                caller=caller,
                may_reveal=caller.may(Scope.REVEAL),
                on_behalf_of=caller.name,
            )

        async with aclosing(self.shelling.serve(request_iterator, context, find)) as answers:
            async for answer in answers:
                yield answer

    async def end_shells(self, group: str) -> None:
        """Of a group that is to be removed."""
        await self.shelling.end_all(group)

    async def SignalTask(self, request: pb.SignalTaskRequest, context: Context) -> pb.SignalTaskResponse:
        id = self._visible(request.id).group.id
        known = (*SIGNALS, *DECISIONS)
        if request.signal not in known:
            raise UsageError(f"there is no signal {request.signal!r}; there are {', '.join(known)}")
        self._engine.library.task(id, request.task)
        delivered = self._engine.signal(id, request.task, request.signal)
        if delivered and request.signal != "destroy":  # which is an end, and not written down
            await durable(self._engine)
        return pb.SignalTaskResponse(delivered=delivered)

    def _with_silence(self, tasks: Sequence[TaskResult]) -> Iterator[TaskResult]:
        """The tasks, those that run elsewhere with since when nothing is heard of that."""
        silent = {peer.name: rfc3339(peer.since) for peer in self._premises.others.states() if not peer.there}
        for task in tasks:
            since = silent.get((task.runner or "").partition("/")[0]) if task.status is Status.RUNNING else None
            yield task if since is None else replace(task, unreached_since=since)

    async def _at_hand(self, head: GroupHead) -> None:
        """See to it that the group's document need not be read while others wait."""
        library = self._engine.library
        unread = library.unread(head)
        if unread is not None:
            with self._engine.held(head.group.id):
                library.keep(head, await self._submissions.beside(len(unread), partial(read_document, unread)))

    async def _log_reading(self, attempt: AttemptId, request: pb.ReadLogRequest) -> LogReading:
        stream = convert.stream_from_proto(request.stream)
        if request.stream and stream is None:
            raise UsageError(f"there is no stream {request.stream}; leave it unset for both")
        position = request.position
        if request.offset:
            if stream is None or position:
                raise UsageError("an `offset` is one of a single `stream`, and goes without a `position`")
            position = await asyncio.to_thread(self._premises.logs.place, attempt, stream, request.offset)
        return LogReading(stream=stream, position=position, offset=request.offset, limit=request.limit or None)

    def _visible(self, public_id: str) -> GroupHead:
        """The group that the caller calls so, or that `admin` sees under this id. Raises GroupNotFoundError."""
        caller = guard.caller()
        id = self._engine.find(caller.name, public_id)
        if id is None and caller.may(Scope.ADMIN):
            id = public_id
        if id is None:
            raise GroupNotFoundError(f"there is no group with the id {public_id!r}")
        return self._engine.library.head(id)

    def _summary(self, row: GroupRow, caller: Caller, counted: GroupHead | None = None) -> GroupSummary:
        return GroupSummary(
            id=row.public_id if row.caller == caller.name else row.id,
            name=row.name,
            status=row.status,
            reason=row.reason,
            labels=row.labels,
            caller=row.caller,
            accepted_at=row.accepted.wall,
            started_at=row.started_at,
            finished_at=row.finished_at,
            counts=self._engine.library.counts(counted) if counted else {},
            concurrency=row.concurrency,
            waits_for=self._named(row.waits_for, row, caller) if turns.is_waiting(row) else None,
            replaced_by=self._named(row.replaced_by, row, caller),
            paused_by=row.paused_by,
        )

    def _named(self, public_id: str | None, row: GroupRow, caller: Caller) -> str | None:
        """What this caller has to call another group of the one who has submitted the group of `row`."""
        if public_id is None or row.caller == caller.name:
            return public_id
        return self._engine.find(row.caller, public_id) or public_id

    # The node itself.

    async def DescribeRunner(self, request: pb.DescribeRunnerRequest, context: Context) -> pb.DescribeRunnerResponse:
        caller, premises, load = guard.caller(), self._premises, self._engine.load
        return pb.DescribeRunnerResponse(
            name=self.service.name,
            node_id=premises.node_id,
            version=__version__,
            labels=self.service.labels,
            types=[convert.type_to_proto(type) for type in await listing.task_types(premises.registry, self._schemas)],
            capacity=load.slots,
            running=load.taken,
            waiting=load.waiting,
            groups=self._engine.active,
            max_groups=self.service.limits.groups,
            started_at=convert.timestamp(premises.started_at),
            draining=self._traffic.leaving,
            caller=caller.name,
            scopes=sorted(caller.scopes),
            peers=[convert.peer_to_proto(peer, trouble=caller.may(Scope.ADMIN)) for peer in premises.others.states()],
        )


def _traceparent(context: Context) -> str:
    """For which span somebody calls, unchecked; empty where that is not said. Of several gRPC gives one."""
    return next((str(value) for key, value in context.invocation_metadata() or () if key == trace.NAME), "")


def _statuses(request: pb.ListTaskGroupsRequest) -> frozenset[Status]:
    """Raises UsageError: who asks for what there is not must not be given all."""
    unknown = set(request.statuses).difference(STATUSES_BACK)
    if unknown:
        raise UsageError(f"there is no status {min(unknown)}; there are {min(STATUSES_BACK)} to {max(STATUSES_BACK)}")
    return convert.statuses_from_proto(request.statuses)


def _chunks(piece: Piece) -> list[pb.LogChunk]:
    return [convert.frame_to_proto(frame, piece.id.task, piece.id.attempt) for frame in piece.frames]
