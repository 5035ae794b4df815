"""A peer that says what a test wants it to, whatever an honest one would say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc

from runner.model.load import Load
from runner.model.session import ExecutorHello, FromExecutor, FromOrigin, OriginHello, Submit
from runner.rpc import peerwire
from runner.v1 import peer_pb2 as pb
from runner.v1 import peer_pb2_grpc

Part: TypeAlias = "Callable[[int, Submit], AsyncIterator[FromExecutor]]"
"""What it says to a `Submit` in its session of this number, the first is 1."""


class Impostor(peer_pb2_grpc.PeerServiceServicer):
    """`heard` is what it was told."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.sessions = 0
        self.heard: list[FromOrigin] = []

    async def Shell(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - so it is called in the protocol
        nothing: tuple[Any, ...] = ()
        for each in nothing:
            yield each

    async def Session(  # noqa: N802 - so it is called in the protocol
        self, request_iterator: AsyncIterator[pb.FromOrigin], context: Any
    ) -> AsyncIterator[pb.FromExecutor]:
        del context
        self.sessions += 1
        session = self.sessions
        async for message in request_iterator:
            said = peerwire.from_origin_from_proto(message)
            self.heard.append(said)
            if isinstance(said, OriginHello):
                yield peerwire.from_executor_to_proto(
                    ExecutorHello(
                        node="impostor",
                        name="impostor",
                        instance="i1",
                        types=frozenset({"os_exec"}),
                        load=Load(slots=4, taken=0, waiting=0),
                    )
                )
            elif isinstance(said, Submit):
                async for answer in self._part(session, said):
                    yield peerwire.from_executor_to_proto(answer)


@asynccontextmanager
async def posing(part: Part) -> AsyncIterator[tuple[Impostor, str]]:
    """An impostor, and where it is reached."""
    impostor = Impostor(part)
    server = grpc.aio.server()
    peer_pb2_grpc.add_PeerServiceServicer_to_server(impostor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield impostor, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
