"""`python -m tests.soak.crowd SECONDS unix:/path…`: executors, each behind a socket of its own, as different peers have different addresses. They carry nothing out: a task is told to
have started at once, and to have ended well so many seconds later.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any

import grpc

from runner.model.dispatch import AttemptId, Finished, Started
from runner.model.load import Load
from runner.model.result import Outcome, Status
from runner.model.session import ExecutorHello, FromExecutor, OriginHello, Reported, Submit
from runner.rpc import peerwire
from runner.v1 import peer_pb2 as pb
from runner.v1 import peer_pb2_grpc


class Crowd(peer_pb2_grpc.PeerServiceServicer):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._numbers = count()

    async def Shell(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - so it is called in the protocol
        nothing: tuple[Any, ...] = ()
        for each in nothing:
            yield each

    async def Session(  # noqa: N802 - so it is called in the protocol
        self, request_iterator: AsyncIterator[pb.FromOrigin], context: Any
    ) -> AsyncIterator[pb.FromExecutor]:
        del context
        name = f"crowd-{os.getpid()}-{next(self._numbers)}"  # a runner that has two names would stay away
        told: asyncio.Queue[FromExecutor] = asyncio.Queue()
        hearing = asyncio.create_task(_hear(name, request_iterator, told, self._seconds))
        try:
            while True:
                yield peerwire.from_executor_to_proto(await told.get())
        finally:
            hearing.cancel()


async def _hear(
    name: str, heard: AsyncIterator[pb.FromOrigin], told: asyncio.Queue[FromExecutor], seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    async for message in heard:
        said = peerwire.from_origin_from_proto(message)
        if isinstance(said, OriginHello):
            load = Load(slots=1000, taken=0, waiting=0)
            told.put_nowait(ExecutorHello(node=name, name=name, instance=name, types=frozenset({"os_exec"}), load=load))
        elif isinstance(said, Submit):
            id = said.dispatch.id
            told.put_nowait(Reported(report=Started(id=id, sequence=1, at=time.time(), handle=b"")))
            loop.call_later(seconds, told.put_nowait, Reported(report=_end(id, time.time(), seconds)))


def _end(id: AttemptId, started: float, seconds: float) -> Finished:
    outcome = Outcome(status=Status.SUCCESS, exit_code=0, started_at=started, finished_at=started + seconds)
    return Finished(id=id, sequence=2, outcome=outcome)


async def main(seconds: float, sockets: Sequence[str]) -> None:
    server = grpc.aio.server()
    peer_pb2_grpc.add_PeerServiceServicer_to_server(Crowd(seconds), server)
    for socket in sockets:
        server.add_insecure_port(socket)
    await server.start()
    print("listens", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), sys.argv[2:]))
