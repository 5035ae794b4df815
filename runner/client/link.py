"""The line from this runner to one of its peers: opened again and again, for as long as the runner lives."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from grpc.aio import AioRpcError

from runner.client.channel import error_of, metadata, open_channel
from runner.client.patience import FACTOR, FIRST_SECONDS, Patience
from runner.errors import RunnerError, UnreachableError, UsageError
from runner.model.endpoint import Endpoint
from runner.model.session import VERSION, ExecutorHello, FromExecutor, FromOrigin, OriginHello
from runner.rpc import peerwire
from runner.v1 import peer_pb2 as pb
from runner.v1.peer_pb2_grpc import PeerServiceStub

LONGEST_WAIT_SECONDS = 10.0
GREETING_SECONDS = 15.0
"""How long a peer may take to answer the greeting."""

_log = logging.getLogger(__name__)


class Party(Protocol):
    """Whom a link speaks for: a `RemoteDispatcher`, whose methods these are."""

    def greeting(self) -> OriginHello: ...

    def connected(self, hello: ExecutorHello, send: Callable[[FromOrigin], None]) -> None: ...

    def heard(self, message: FromExecutor) -> None: ...

    def disconnected(self, why: str) -> None: ...


class Link:
    """One session after the other with the peer at `endpoint`. Waits grow from a tenth of a second to ten, with jitter."""

    def __init__(self, endpoint: Endpoint, party: Party, *, silence: float = Patience().silence) -> None:
        """`silence` is as in `Patience`: after it a line that is cut without a word is known to be. Raises UsageError."""
        self._endpoint = endpoint.checked()
        self._party = party
        self._silence = silence

    async def run(self) -> None:
        """For ever."""
        tries = 0
        while True:
            try:
                if await self._session():
                    tries = 0
                why = "it has ended the session"
            except AioRpcError as error:
                told = error_of(error, self._endpoint)
                why = told.message if isinstance(told, UnreachableError) else f"it says: {told.message}"
            except RunnerError as error:
                why = error.message
            except OSError as error:
                why = f"a log cannot be written here: {error.strerror}"
            except TimeoutError:
                why = f"it did not answer the greeting within {GREETING_SECONDS:g} s"
            self._party.disconnected(why)
            wait = min(LONGEST_WAIT_SECONDS, FIRST_SECONDS * FACTOR**tries)
            tries = min(tries + 1, 60)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _session(self) -> bool:
        """One session up to its end; whether the peer has answered in it."""
        async with open_channel(self._endpoint, self._silence) as channel:
            queue: asyncio.Queue[FromOrigin] = asyncio.Queue()
            stub: Any = PeerServiceStub(channel)  # its stubs are those of the blocking one
            call = stub.Session(_requests(queue), metadata=metadata(self._endpoint))
            try:
                queue.put_nowait(self._party.greeting())
                answers = aiter(call)
                async with asyncio.timeout(GREETING_SECONDS):
                    first = await anext(answers, None)
                if first is None:
                    return False
                hello = peerwire.from_executor_from_proto(first)
                if not isinstance(hello, ExecutorHello) or hello.version != VERSION:
                    raise UsageError("it speaks another protocol: one of the two runners has to be upgraded")
                self._party.connected(hello, queue.put_nowait)
                async for message in answers:
                    self._party.heard(peerwire.from_executor_from_proto(message))
                return True
            finally:
                call.cancel()


async def _requests(queue: asyncio.Queue[FromOrigin]) -> AsyncIterator[pb.FromOrigin]:
    while True:
        yield peerwire.from_origin_to_proto(await queue.get())
