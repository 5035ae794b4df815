"""A folder on its way to a node.

Not on the loop: gRPC for asyncio takes a piece that cannot be sent for the end of the call, and says INTERNAL in words of its own. What the node
has answered, or that the line is cut, is then not to be had any more. Its blocking half waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

import grpc
from grpc import aio

from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub


class Uploads:
    """Those of one client."""

    def __init__(self) -> None:
        self._calls: set[Any] = set()

    async def send(
        self, channel: grpc.Channel, pieces: Iterator[bytes], metadata: tuple[tuple[str, str], ...]
    ) -> pb.UploadWorkspaceResponse:
        """What the node answers. Raises AioRpcError, and what `pieces` raises, which are asked for in other threads."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        first = await asyncio.to_thread(next, pieces, b"")  # what cannot be read at all troubles no node
        requests = _Requests(chain((first,), pieces))
        call: Any = RunnerServiceStub(channel).UploadWorkspace.future(requests, metadata=metadata)
        self._calls.add(call)
        try:
            requests.begin(call)
            call.add_done_callback(lambda _: _tell(loop, over))
            await over.wait()
        finally:
            self._calls.discard(call)
            call.cancel()
        if requests.failure is not None:
            raise requests.failure
        if call.code() is not grpc.StatusCode.OK:
            raise aio.AioRpcError(
                call.code(),
                aio.Metadata(*call.initial_metadata()),
                aio.Metadata(*call.trailing_metadata()),
                call.details(),
            )
        answer: pb.UploadWorkspaceResponse = call.result()
        return answer

    def cancel(self) -> None:
        for call in tuple(self._calls):
            call.cancel()


def _tell(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(over.set)


class _Requests(Iterator[pb.UploadWorkspaceRequest]):
    """gRPC asks for the next one in a thread of its own, and would tell the whole world of what is raised there."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.failure: Exception | None = None
        self._pieces = pieces
        self._call: Any = None
        self._begun = threading.Event()

    def begin(self, call: Any) -> None:
        self._call = call
        self._begun.set()

    def __next__(self) -> pb.UploadWorkspaceRequest:
        self._begun.wait()
        try:
            piece = next(self._pieces, None)
        except Exception as error:
            self.failure = error  # raised where the answer is waited for
            self._call.cancel()  # before gRPC takes this for the end of what is sent
            raise StopIteration from error
        if piece is None:
            raise StopIteration
        return pb.UploadWorkspaceRequest(data=piece)
