"""The line from this runner to one of its peers: opened again and again, for as long as the runner lives."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from grpc.aio import AioRpcError

from runner.client.channel import error_of, metadata, open_channel
from runner.client.patience import Backoff, Patience
from runner.errors import RunnerError, UnreachableError, UsageError
from runner.model.endpoint import Endpoint
from runner.model.result import Reason
from runner.model.session import (
    LARGEST_SUBMIT_BYTES,
    VERSION,
    Check,
    Checked,
    ExecutorHello,
    FromExecutor,
    FromOrigin,
    OriginHello,
    Refused,
    Submit,
    SubmitGroup,
)
from runner.rpc import peerwire
from runner.v1 import peer_pb2 as pb
from runner.v1.peer_pb2_grpc import PeerServiceStub

LONGEST_WAIT_SECONDS = 10.0
GREETING_SECONDS = 15.0
"""How long a peer may take to answer the greeting."""

_log = logging.getLogger(__name__)


class Party(Protocol):
    """Whom a link speaks for: a `RemoteDispatcher`, whose methods these are."""

    def when_ready(self, ready: Callable[[], None]) -> None: ...

    def greeting(self) -> OriginHello: ...

    def connected(self, hello: ExecutorHello, send: Callable[[FromOrigin], None]) -> None: ...

    def heard(self, message: FromExecutor) -> None: ...

    def disconnected(self, why: str) -> None: ...


class Link:
    """One session after the other with the peer at `endpoint`. Waits grow from a tenth of a second to ten, with jitter, and begin anew
    behind a session that has lasted for longer than that: one that breaks whenever it has begun is not begun ten times a second."""

    def __init__(
        self,
        endpoint: Endpoint,
        party: Party,
        *,
        silence: float = Patience().silence,
        patience: float = GREETING_SECONDS,
    ) -> None:
        """`silence` is as in `Patience`: after it a line that is cut without a word is known to be. `patience` is how long the peer may
        take to answer the greeting, in seconds. Raises UsageError."""
        self._endpoint = endpoint.checked()
        self._party = party
        self._silence = silence
        self._patience = patience
        self._connected_at = math.inf
        """Of the last session, by the clock of the loop; infinite where it has not come so far."""

    async def run(self) -> None:
        """For ever, from when its party is ready."""
        ready = asyncio.Event()
        self._party.when_ready(ready.set)
        await ready.wait()
        now = asyncio.get_running_loop().time
        backoff = Backoff(LONGEST_WAIT_SECONDS)
        while True:
            self._connected_at = math.inf
            self._party.disconnected(await self._until_it_ended())
            if now() - self._connected_at > LONGEST_WAIT_SECONDS:
                backoff.begin_anew()
            await asyncio.sleep(backoff.next())

    async def _until_it_ended(self) -> str:
        """One session; why it has ended, for a person."""
        try:
            await self._session()
        except AioRpcError as error:
            told = error_of(error, self._endpoint)
            return await self._trouble(told) if isinstance(told, UnreachableError) else f"it says: {told.message}"
        except RunnerError as error:
            return error.message
        except TimeoutError:  # which is an OSError
            return f"it did not answer the greeting within {self._patience:g} s"
        except OSError as error:
            return f"a log cannot be written here: {error.strerror}"
        except Exception as error:  # noqa: BLE001 (whatever a peer says, there is a next session)
            _log.exception("a session with %s has failed", self._endpoint.target, extra={"action": "link_failed"})
            return f"this runner could not make anything of what it says ({type(error).__name__})"
        return "it has ended the session"

    async def _trouble(self, error: UnreachableError) -> str:
        """With what gRPC keeps to itself. Of a session that has broken nothing more is found out before the next one."""
        if not math.isinf(self._connected_at):
            return error.message
        from runner.client import diagnosis  # only where something is wrong

        finding = await asyncio.to_thread(diagnosis.find, self._endpoint)
        return error.message if finding is None else f"{error.message}: {finding.text}"

    async def _session(self) -> None:
        """Up to its end. Raises AioRpcError, RunnerError, TimeoutError, and what `Party.heard` raises."""
        async with open_channel(self._endpoint, self._silence) as channel:
            queue: asyncio.Queue[FromOrigin | None] = asyncio.Queue()
            stub: Any = PeerServiceStub(channel)  # its stubs are those of the blocking one
            call = stub.Session(self._requests(queue), metadata=metadata(self._endpoint))
            try:
                queue.put_nowait(self._party.greeting())
                answers = aiter(call)
                async with asyncio.timeout(self._patience):
                    first = await anext(answers, None)
                if first is None:
                    return
                hello = peerwire.from_executor_from_proto(first)
                if not isinstance(hello, ExecutorHello) or hello.version != VERSION:
                    raise UsageError("it speaks another protocol: one of the two runners has to be upgraded")
                self._connected_at = asyncio.get_running_loop().time()
                self._party.connected(hello, queue.put_nowait)
                async for message in answers:
                    self._party.heard(peerwire.from_executor_from_proto(message))
            finally:
                call.cancel()
                queue.put_nowait(None)  # of a call that is over already gRPC would let the requests wait for ever

    async def _requests(self, queue: asyncio.Queue[FromOrigin | None]) -> AsyncIterator[pb.FromOrigin]:
        """Up to a None."""
        while (said := await queue.get()) is not None:
            message = peerwire.from_origin_to_proto(said)
            if not isinstance(said, Submit | SubmitGroup | Check) or message.ByteSize() <= LARGEST_SUBMIT_BYTES:
                yield message
            elif isinstance(said, Check):
                self._party.heard(Checked(number=said.number, faults=()))  # it is said of what is handed over
            else:
                self._party.heard(_too_large(said, message.ByteSize()))


def _too_large(said: Submit | SubmitGroup, size: int) -> Refused:
    what = "the task and what it imports have" if isinstance(said, Submit) else "the group and its inputs have"
    return Refused(
        id=said.dispatch.id,
        reason=Reason.REFUSED,
        message=f"{what} {size:,} bytes, and {LARGEST_SUBMIT_BYTES:,} at most can be sent to another runner",
    )
