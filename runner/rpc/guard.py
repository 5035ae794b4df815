"""Stands before every method: who is asking, may he do this, and what becomes of an error."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from runner.errors import ForbiddenError, LimitError, UnauthenticatedError, UsageError
from runner.rpc.identity import Caller, Context, Identifier
from runner.rpc.policy import METHODS, Need, Policy, authorize

RECHECK_SECONDS = 1.0
"""How long a stream may go on after its caller has lost what it needs, e.g. because a token was revoked: its next message that is
later than this is not sent."""

LARGE = frozenset(
    f"/runner.v1.RunnerService/{name}" for name in ("SubmitTaskGroup", "ValidateTaskGroup", "UploadWorkspace")
)
"""The methods whose requests bring documents and files, and so may be as large as the server takes."""
USUAL_BYTES = 4 << 20
"""What a request of the others may have: it is read, and answered, on the loop."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs alone
Behaviour = Callable[[Any, Context], Any]
Parse = Callable[[Any], Any]

_log = logging.getLogger(__name__)
_caller: ContextVar[Caller] = ContextVar("runner.rpc.guard.caller")


class Abort(Protocol):
    """Ends a call with what its caller is told of an error."""

    async def __call__(self, context: Context, error: Exception, /) -> NoReturn: ...


def caller() -> Caller:
    """Who asks for what is being done at this moment. Raises LookupError where nobody had to say who he is."""
    return _caller.get()


class Guard(grpc.aio.ServerInterceptor):
    """An interceptor for all methods of a server, which have to be coroutines or asynchronous generators. Requests are parsed
    here, after it is known who is asking: gRPC would tell callers about its insides where one cannot be.

    `policy` may be replaced while the server runs: calls that follow, and the next messages of streams, are judged by the
    new one.
    """

    def __init__(
        self, identifier: Identifier, policy: Policy, abort: Abort, *, recheck_seconds: float = RECHECK_SECONDS
    ) -> None:
        self.policy = policy
        self._identifier = identifier
        self._abort = abort
        self._recheck_seconds = recheck_seconds
        self._guarded: dict[str, tuple[Handler, Handler]] = {}
        """By method: what it was made of, and what stands before it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # there is no such method
        method = handler_call_details.method
        known = self._guarded.get(method)
        if known is None or known[0] is not handler:
            known = self._guarded[method] = (handler, self._guard(handler, method))
        return known[1]

    def _guard(self, handler: Handler, method: str) -> Handler:
        kind = f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}"
        behaviour = getattr(handler, kind)
        parse = _parser(handler, method)
        # A stream of answers may also come from a coroutine that writes them by itself.
        guard = self._streaming if inspect.isasyncgenfunction(behaviour) else self._answering
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        guarded: Handler = make(guard(behaviour, parse, method), None, handler.response_serializer)
        return guarded

    def _answering(self, behaviour: Behaviour, parse: Parse, method: str) -> Behaviour:
        async def answer(received: Any, context: Context) -> Any:
            try:
                self._admit(context, method)
                return await behaviour(parse(received), context)
            except Exception as error:  # noqa: BLE001 (what it is to the caller the table of errors says)
                await self._end(context, error)

        return answer

    def _streaming(self, behaviour: Behaviour, parse: Parse, method: str) -> Behaviour:
        async def stream(received: Any, context: Context) -> AsyncIterator[Any]:
            now = asyncio.get_running_loop().time
            try:
                self._admit(context, method)
                checked = now()
                async with aclosing(behaviour(parse(received), context)) as messages:
                    async for message in messages:
                        if now() - checked >= self._recheck_seconds:
                            self._admit(context, method)
                            checked = now()
                        yield message
            except Exception as error:  # noqa: BLE001 (as above)
                await self._end(context, error)

        return stream

    async def _end(self, context: Context, error: Exception) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, NotImplementedError):  # generated code says so of methods that nobody has written
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner does not have this method")
        await self._abort(context, error)

    def _admit(self, context: Context, method: str) -> None:
        """Raises UnauthenticatedError, ForbiddenError, UnavailableError."""
        need = METHODS.get(method)
        if need is Need.NOTHING:
            return
        name = None
        try:
            identity = self._identifier.identify(context)
            name = identity.name
            admitted = self.policy.admit(identity)
            authorize(need, admitted)
        except (UnauthenticatedError, ForbiddenError) as error:
            told = {"action": "call_refused", "method": method, "peer": context.peer(), "caller": name}
            _log.info("%s", error.message, extra=told)
            raise
        _caller.set(admitted)


def _word(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _parser(handler: Handler, method: str) -> Parse:
    """What makes a request, or an iterator of requests, of what was received. It raises UsageError for what is no request, and
    LimitError for one that is too large to be read."""
    deserialize = handler.request_deserializer or bytes
    limit = None if method in LARGE else USUAL_BYTES

    def one(received: bytes) -> Any:
        if limit is not None and len(received) > limit:
            raise LimitError(f"a request of {method} may have {limit:,} bytes at most", limit=limit)
        try:
            return deserialize(received)
        except DecodeError:
            raise UsageError(
                f"the request of {method} cannot be read: expected a message as the runner's protocol has it, and text in UTF-8"
            ) from None

    async def several(received: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for each in received:
            yield one(each)

    return several if handler.request_streaming else one
