"""An origin that is nothing but its side of a session, for tests of executors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc

from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.log import STREAMS, Stream
from runner.model.result import Outcome
from runner.model.session import (
    Afresh,
    Begin,
    ExecutorHello,
    FromExecutor,
    FromOrigin,
    OriginHello,
    Printed,
    Refused,
    Reported,
    Submit,
)
from runner.model.task import Export, Import, Task
from runner.model.value import Bindings, Value
from runner.rpc import peerwire
from runner.v1 import peer_pb2 as pb
from runner.v1 import peer_pb2_grpc

WAIT_SECONDS = 30.0
Channel: TypeAlias = "grpc.aio.Channel"

ID = AttemptId("g", "t", 1)
"""Of what is submitted where nothing else is said."""


class Talk:
    """One session. What was said is in `heard`; what of each attempt, in order, is taken with `until`."""

    def __init__(self, channel: Channel, metadata: Sequence[tuple[str, str]] = ()) -> None:
        stub: Any = peer_pb2_grpc.PeerServiceStub(channel)
        self._call = stub.Session(metadata=tuple(metadata))
        self.heard: list[FromExecutor] = []
        self.printed: dict[AttemptId, dict[Stream, bytes]] = {}
        """What each attempt has printed, as an origin puts it together."""

    async def say(self, said: FromOrigin) -> None:
        await self.say_raw(peerwire.from_origin_to_proto(said))

    async def say_raw(self, message: pb.FromOrigin) -> None:
        await self._call.write(message)

    async def hello(
        self, node: str = "o1", name: str = "origin", *, live: Sequence[AttemptId] = (), begin: bool = True, **more: Any
    ) -> ExecutorHello:
        await self.say(OriginHello(node=node, name=name, **more))
        answer = await self.next()
        assert isinstance(answer, ExecutorHello)
        if begin:
            await self.say(Begin(live=tuple(live)))
        return answer

    async def next(self) -> FromExecutor:
        """What is said next. Raises AioRpcError where the session has ended, EOFError where it has come to its end."""
        async with asyncio.timeout(WAIT_SECONDS):
            message = await self._call.read()
        if message is grpc.aio.EOF:
            if await self._call.code() is not grpc.StatusCode.OK:
                raise grpc.aio.AioRpcError(
                    await self._call.code(),
                    await self._call.initial_metadata(),
                    await self._call.trailing_metadata(),
                    details=await self._call.details(),
                )
            raise EOFError
        said = peerwire.from_executor_from_proto(message)
        self.heard.append(said)
        if isinstance(said, Printed):
            whole = self.printed.setdefault(said.id, dict.fromkeys(STREAMS, b""))
            whole[said.stream] += said.data
        elif isinstance(said, Afresh):
            self.printed[said.id] = dict.fromkeys(STREAMS, b"")
        return said

    async def until(self, fits: Callable[[FromExecutor], bool]) -> FromExecutor:
        while not fits(said := await self.next()):
            pass
        return said

    async def finished(self, id: AttemptId) -> Finished:
        said = await self.until(lambda said: is_finished(said, id))
        assert isinstance(said, Reported)
        assert isinstance(said.report, Finished)
        return said.report

    async def outcome(self, id: AttemptId) -> Outcome:
        return (await self.finished(id)).outcome

    async def started(self, id: AttemptId) -> None:
        await self.until(
            lambda said: isinstance(said, Reported) and isinstance(said.report, Started) and said.report.id == id
        )

    async def refused(self) -> Refused:
        said = await self.until(lambda said: isinstance(said, Refused))
        assert isinstance(said, Refused)
        return said

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        """How the session was ended by the executor."""
        try:
            while True:
                await self.next()
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""

    def reports(self, id: AttemptId) -> list[Report]:
        return [said.report for said in self.heard if isinstance(said, Reported) and said.report.id == id]

    def told(self, id: AttemptId) -> list[str]:
        """What was reported, each in a word."""
        words = {Started: "started", Finished: "finished"}
        return [
            report.kind.value if isinstance(report, Noticed) else words[type(report)] for report in self.reports(id)
        ]

    def noticed(self, id: AttemptId, kind: Kind) -> list[Mapping[str, Any]]:
        return [report.fields for report in self.reports(id) if isinstance(report, Noticed) and report.kind is kind]

    @property
    def pieces(self) -> list[Printed]:
        return [said for said in self.heard if isinstance(said, Printed)]

    def leave(self) -> None:
        """As if the connection was cut."""
        self._call.cancel()


@asynccontextmanager
async def talking(channel: Channel, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Talk]:
    talk = Talk(channel, metadata)
    try:
        yield talk
    finally:
        talk.leave()


def is_finished(said: FromExecutor, id: AttemptId) -> bool:
    return isinstance(said, Reported) and isinstance(said.report, Finished) and said.report.id == id


def submit(
    instance: str,
    script: str = "true",
    *,
    id: AttemptId = ID,
    exports: Sequence[Export] = (),
    imports: Mapping[str, Mapping[str, Value]] | None = None,
    inputs: Mapping[str, Value] | None = None,
    env: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    type: str = "os_exec",
    paused: bool = False,
    on_behalf_of: str = "",
    **more: Any,
) -> Submit:
    """`script` is run by a shell; `more` is of the `Submit`."""
    given = imports or {}
    task = Task(
        name=id.task,
        type=type,
        spec={"command": script, **(spec or {})},
        exports=tuple(exports),
        imports=tuple(Import(task=task, variable=name) for task, values in given.items() for name in values),
        depends_on=("first",),
    )
    bindings = Bindings(
        imports=given,
        inputs=inputs or {},
        env=env or {},
        group_id=id.group,
        group_name="deploy",
        task_name=id.task,
        task_attempt=id.attempt,
    )
    dispatch = Dispatch(
        id=id,
        instance=instance,
        task=task,
        bindings=bindings,
        workspace="/where/the/origin/works",
        paused=paused,
        on_behalf_of=on_behalf_of,
    )
    return Submit(dispatch=dispatch, **more)


def word(said: FromExecutor) -> str:
    """What was said, in a word."""
    if isinstance(said, Reported):
        return said.report.kind.value if hasattr(said.report, "kind") else type(said.report).__name__
    return "afresh" if isinstance(said, Afresh) else type(said).__name__.lower()
