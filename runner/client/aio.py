"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from grpc import aio
from grpc.aio import AioRpcError

from runner.client import answers, span
from runner.client.answers import Description, Rerun, Submission, Upload, Validation
from runner.client.channel import error_of, metadata, open_blocking_channel, open_channel
from runner.client.patience import Attempts, Patience
from runner.client.resuming import LogProgress, WatchProgress
from runner.client.uploading import Uploads
from runner.errors import DocumentError, GroupNotFoundError, RunnerError, UnreachableError, UsageError
from runner.model.endpoint import Endpoint
from runner.model.event import Event
from runner.model.explanation import Explanation
from runner.model.log import Stream
from runner.model.query import GroupFilter
from runner.model.result import Status, TaskGroupResult
from runner.model.summary import GroupSummary
from runner.model.watch import Happening, LogChunk
from runner.rpc import convert
from runner.rpc.wire import STATUSES, STATUSES_BACK
from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub

CALL_SECONDS = 60.0
"""How long one try of a call may take."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Waiting = Callable[[RunnerError, float], None]


class _Progress(Protocol[T_co]):
    over: bool

    def take(self, response: Any, /) -> Sequence[T_co]: ...


class AsyncClient:
    """A node, asked from one asyncio loop. It connects when it has something to ask.

    What the node answers in its own words is raised as an error of `runner.errors`. While it does not answer, or says that it is
    worth to come back, a call is tried again as long as there is `patience`; UnreachableError then says why. Nothing is done twice
    by that: a submission has an id from the first try on, and what cannot be repeated is not.
    """

    def __init__(
        self,
        endpoint: Endpoint | str,
        *,
        patience: Patience = Patience(),  # noqa: B008 - it is frozen
        on_wait: Waiting | None = None,
    ) -> None:
        """`endpoint` is a target such as `host:port`, or more. `on_wait` is told each time before something is tried again: what
        has happened, and in how many seconds. Raises UsageError for an endpoint that makes no sense."""
        self._endpoint = (Endpoint(target=endpoint) if isinstance(endpoint, str) else endpoint).checked()
        self._patience = patience
        self._on_wait = on_wait
        self._channel: aio.Channel | None = None
        self._made: Any = None
        self._uploads = Uploads()
        self._closed = False

    async def submit(  # noqa: PLR0913 - what a submission has, each named
        self,
        document: bytes | str,
        *,
        source: str = "",
        inputs: Mapping[str, str] | None = None,
        id: str | None = None,
        labels: Mapping[str, str] | None = None,
        workspace_id: str = "",
        traceparent: str | None = None,
        spare_id: str = "",
        pause_on_failure: bool = False,
    ) -> Submission:
        """Have a task group carried out. On return it is recorded and survives a loss of power.

        `document` is YAML or JSON; messages call it `source`. `inputs` are values for what it declares. `id` is the group's; one is made
        up where neither it nor the document gives one. `labels` are added to those of the document. The group works in
        what `upload_workspace` has brought, or in an empty folder. `traceparent` is the span that the group's is a part of; without it,
        `TRACEPARENT` of the environment. `spare_id` is the one that is made up, where you want to know it also when no answer comes:
        what was accepted all the same is one group with what is submitted again by that `id`. With `pause_on_failure` it stands still when a
        task has failed, until `signal` says what follows. Raises DocumentError with every fault, UsageError for inputs that do not fit,
        GroupExistsError when the id has different content, LimitError when the node has enough to do, ForbiddenError where its policy says no.
        """
        request = pb.SubmitTaskGroupRequest(
            document=document.encode() if isinstance(document, str) else document,
            source=source,
            inputs=inputs or {},
            id=id or "",
            spare_id=spare_id or secrets.token_hex(8),
            labels=labels or {},
            workspace_id=workspace_id, pause_on_failure=pause_on_failure,
        )  # fmt: skip
        try:
            answer = await self._call(self._stub.SubmitTaskGroup, request, more=span.metadata(traceparent))
        except DocumentError as error:
            # An error has room for some faults; all of them are told by a validation.
            faults = (await self.validate(document, source=source)).faults
            raise DocumentError(faults) if len(faults) > len(error.faults) else error from error
        return Submission(
            id=answer.id, existed=answer.existed, warnings=tuple(map(convert.fault_from_proto, answer.warnings))
        )

    async def rerun(
        self,
        id: str,
        tasks: Sequence[str] = (),
        *,
        new_id: str | None = None,
        workspace_id: str = "",
        spare_id: str = "",
    ) -> Rerun:
        """Do a group of one's own that is over again, as another one: from these tasks on, or without any from all that did not succeed. On return
        the new group is recorded and survives a loss of power. Raises GroupNotFoundError, ForbiddenError, and UsageError where the group is not over or nothing is to
        be done."""
        request = pb.RerunTaskGroupRequest(
            id=id,
            new_id=new_id or "",
            spare_id=spare_id or secrets.token_hex(8),
            tasks=tasks,
            workspace_id=workspace_id,
        )
        answer = await self._call(self._stub.RerunTaskGroup, request, more=span.metadata(None))
        return Rerun(id=answer.id, existed=answer.existed, tasks=answer.tasks, kept=answer.kept)

    async def validate(self, document: bytes | str, *, source: str = "") -> Validation:
        """Everything that is wrong with a document, by what this node can do and allows; nothing is run."""
        raw = document.encode() if isinstance(document, str) else document
        answer = await self._call(
            self._stub.ValidateTaskGroup, pb.ValidateTaskGroupRequest(document=raw, source=source)
        )
        faults = tuple(map(convert.fault_from_proto, answer.faults))
        return Validation(valid=answer.valid, faults=faults, name=answer.name, tasks=answer.tasks)

    async def summary(self, id: str) -> GroupSummary:
        """A group without its tasks, but with how many of them have which status. Raises GroupNotFoundError."""
        return convert.summary_from_proto(await self._group(id))

    async def result(self, id: str, *, reveal: bool = False, limit: int = 0) -> TaskGroupResult:
        """The Task Group Result as recorded so far; with a `limit` of at most so many tasks, the first of the document. Confidential outputs are `***` unless `reveal`, which only who submitted
        the group may ask for. Raises GroupNotFoundError, ForbiddenError."""
        request = pb.GetTaskGroupRequest(id=id, reveal=reveal, page_size=limit)
        tasks: list[pb.TaskResult] = []
        while True:
            answer = await self._call(self._stub.GetTaskGroup, request)
            tasks += answer.tasks
            if not answer.next_page_token or 0 < limit <= len(tasks):
                return convert.result_from_proto(answer.group, tasks)
            request.page_token = answer.next_page_token

    async def explain(self, id: str, task: str | None = None) -> Explanation:
        """Why the group, or one of its tasks, is as it is. Raises GroupNotFoundError, for the task too."""
        request = pb.ExplainTaskGroupRequest(id=id, task=task or "")
        return convert.explanation_from_proto(await self._call(self._stub.ExplainTaskGroup, request))

    async def list(self, filter: GroupFilter = GroupFilter()) -> AsyncIterator[GroupSummary]:  # noqa: B008 - it is frozen
        """Groups, the last accepted first: one's own, or for an administrator everybody's."""
        request = pb.ListTaskGroupsRequest(
            statuses=[STATUSES[status] for status in filter.statuses],
            labels=filter.labels,
            accepted_from=convert.timestamp(filter.accepted_from),
            accepted_before=convert.timestamp(filter.accepted_before),
            caller=filter.caller,
        )
        while True:
            answer = await self._call(self._stub.ListTaskGroups, request)
            for group in answer.groups:
                yield convert.summary_from_proto(group)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def watch(
        self, id: str, *, after_event: int = 0, output: bool = True, tasks: Sequence[str] = ()
    ) -> AsyncIterator[Happening]:
        """What happens to a group until it is over, from the event behind `after_event` on: its events, and with `output` what
        its tasks print, each piece once, however often the node goes away meanwhile. `tasks` are those that are meant, none
        for all. Raises GroupNotFoundError."""
        async for happenings in self.watch_in_batches(id, after_event=after_event, output=output, tasks=tasks):
            for happening in happenings:
                yield happening

    async def watch_in_batches(
        self, id: str, *, after_event: int = 0, output: bool = True, tasks: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Happening]]:
        """As `watch`, in the pieces in which it comes."""
        progress = WatchProgress(id, after_event=after_event, output=output, tasks=tasks)
        stream = self._stream(
            lambda: self._stub.WatchTaskGroup(progress.request(), metadata=self._metadata()), progress
        )
        async for happenings in stream:
            yield happenings

    async def events(self, id: str, *, follow: bool = False) -> AsyncIterator[Sequence[Event]]:
        """The events of a group so far, or with `follow` until it is over, in the pieces in which they come."""
        last = None if follow else (await self._group(id)).last_event
        if last == 0:
            return
        after, before = 0, -1
        # A watch ends with its group, and late results come behind that.
        while after > before and (last is None or after < last):
            before = after
            async for happenings in self.watch_in_batches(id, after_event=after, output=False):
                found = [
                    event for event in happenings if isinstance(event, Event) and (last is None or event.number <= last)
                ]
                if found:
                    after = found[-1].number
                    yield found
                if last is not None and after >= last:
                    return
            if last is None:
                return

    async def logs(
        self,
        id: str,
        task: str,
        *,
        attempt: int = 0,
        stream: Stream | None = None,
        offset: int = 0,
        follow: bool = False,
    ) -> AsyncIterator[LogChunk]:
        """What one attempt has printed, in the order of its arrival; the last attempt, unless there is a number.

        Of both streams, or of one from `offset` on (in bytes as stored); with `follow` until the attempt is over, each piece
        once, however often the node goes away meanwhile. A last one without data tells how much is missing at the end of a
        stream. Raises GroupNotFoundError, and LogGapError for an `offset` of
        which nothing is kept.
        """
        progress = LogProgress(id, task, attempt=attempt, stream=stream, offset=offset, limit=0, follow=follow)
        pieces = self._stream(lambda: self._stub.ReadLog(progress.request(), metadata=self._metadata()), progress)
        async for chunks in pieces:
            for chunk in chunks:
                yield chunk

    async def cancel(self, id: str, *, at_once: bool = False) -> Status:
        """End a group early; its status at this moment. Running tasks are asked to end and `when: always` tasks still clean up,
        unless `at_once`. Raises GroupNotFoundError."""
        answer = await self._call(self._stub.CancelTaskGroup, pb.CancelTaskGroupRequest(id=id, at_once=at_once))
        return STATUSES_BACK[answer.status]

    async def remove(self, id: str) -> None:
        """Remove a group that is over, with its logs. Raises GroupNotFoundError, and GroupInUseError, which says why it stays."""
        asked = 0

        async def once() -> None:
            nonlocal asked
            asked += 1
            await self._stub.RemoveTaskGroup(
                pb.RemoveTaskGroupRequest(id=id), metadata=self._metadata(), timeout=CALL_SECONDS
            )

        try:
            await self._try(once)
        except GroupNotFoundError:
            if asked == 1:  # else a call has removed it whose answer was lost
                raise

    async def signal(self, id: str, task: str, signal: str) -> bool:
        """Send `pause`, `start` (go on) or `destroy` (kill) to a running task; False where it does not run. It is tried once: a
        signal that came twice might meet the next attempt. Raises GroupNotFoundError."""
        request = pb.SignalTaskRequest(id=id, task=task, signal=signal)
        return bool((await self._call(self._stub.SignalTask, request, again=False)).delivered)

    async def describe(self) -> Description:
        """What the node is, can do and has to do, and who one is there."""
        return answers.description(await self._call(self._stub.DescribeRunner, pb.DescribeRunnerRequest()))

    async def upload_workspace(self, folder: str | os.PathLike[str], *, exclude: Sequence[str] = ()) -> Upload:
        """Bring what is in `folder` to the node, for one `submit` within the hour. See `packing.pack` for what is taken along, and
        what `exclude` leaves out."""
        from runner.client.packing import pack  # what it needs is slow to import

        self._check_open()
        with open_blocking_channel(self._endpoint, self._patience.silence) as channel:
            answer = await self._try(lambda: self._uploads.send(channel, pack(Path(folder), exclude), self._metadata()))
        return Upload(workspace_id=answer.workspace_id, bytes=answer.bytes, entries=answer.entries)

    async def close(self) -> None:
        """What is under way ends with an error, and nothing can be asked any more. May be repeated."""
        self._closed = True
        self._uploads.cancel()
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this client is closed: make another one")

    @property
    def _stub(self) -> Any:
        self._check_open()
        if self._channel is None:
            self._channel = open_channel(self._endpoint, self._patience.silence)
            self._made = RunnerServiceStub(self._channel)
        return self._made

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return metadata(self._endpoint)

    async def _group(self, id: str) -> pb.TaskGroup:
        group: pb.TaskGroup = (
            await self._call(self._stub.GetTaskGroup, pb.GetTaskGroupRequest(id=id, page_size=1))
        ).group
        return group

    async def _call(
        self, method: Any, request: Any, *, again: bool = True, more: tuple[tuple[str, str], ...] = ()
    ) -> Any:
        """`more` is metadata."""
        return await self._try(
            lambda: method(request, metadata=(*self._metadata(), *more), timeout=CALL_SECONDS), again=again
        )

    async def _try(self, once: Callable[[], Awaitable[T]], *, again: bool = True) -> T:
        attempts = Attempts(self._patience.call if again else 0)
        while True:
            try:
                return await once()
            except AioRpcError as error:
                failure = error
            except asyncio.CancelledError as error:
                self._tell_closed(error)
                raise
            await self._wait(attempts, failure)

    async def _stream(self, begin: Callable[[], Any], progress: _Progress[T]) -> AsyncIterator[Sequence[T]]:
        """What comes, from as many streams as it takes."""
        attempts = Attempts(self._patience.call)
        while True:
            call = begin()
            came = False
            try:
                async for response in call:
                    came = True
                    if taken := progress.take(response):
                        yield taken
                    if progress.over:
                        return
                return
            except AioRpcError as error:
                failure = error
            except asyncio.CancelledError as error:
                self._tell_closed(error)
                raise
            finally:
                call.cancel()
            if came:
                attempts.succeeded(self._patience.stream)
            await self._wait(attempts, failure)

    def _tell_closed(self, error: BaseException) -> None:
        """A call whose channel was closed ends like one that its own task has cancelled."""
        task = asyncio.current_task()
        if self._closed and (task is None or not task.cancelling()):
            raise UnreachableError("the client was closed meanwhile") from error

    async def _wait(self, attempts: Attempts, error: AioRpcError) -> None:
        """Until it may be tried again; raises what has happened where it may not."""
        self._tell_closed(error)
        failure = error_of(error, self._endpoint)
        wait = attempts.wait(failure)
        if isinstance(failure, UnreachableError):
            from runner.client import diagnosis  # only where something is wrong

            finding = await asyncio.to_thread(diagnosis.find, self._endpoint)
            if finding is not None:
                failure = UnreachableError(
                    f"{self._endpoint.target} does not answer: {finding.text}", final=finding.final
                )
                wait = None if finding.final else wait
        if wait is None:
            raise failure from error
        if self._on_wait is not None:
            self._on_wait(failure, wait)
        await asyncio.sleep(wait)
