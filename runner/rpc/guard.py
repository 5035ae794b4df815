"""Stands before every method: who is asking, may he do this, and what becomes of an error."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from runner.config.service import Scope
from runner.errors import ForbiddenError, LimitError, RunnerError, UnauthenticatedError, UnavailableError, UsageError
from runner.rpc import intake
from runner.rpc.identity import Caller, Context, Identifier, Proof
from runner.rpc.intake import Intake
from runner.rpc.ongoing import Ongoing
from runner.rpc.policy import METHODS, Need, Policy, authorize

RECHECK_SECONDS = 1.0
"""How long a stream may go on after its caller has lost what it needs, e.g. because a token was revoked; no message is sent that is
later than this."""

SMALL_BYTES = 256 << 10
"""A request up to this size is forgotten in all that is to be said about memory."""

LARGE = frozenset(
    {
        "/runner.v1.RunnerService/SubmitTaskGroup",
        "/runner.v1.RunnerService/ValidateTaskGroup",
        "/runner.v1.RunnerService/UploadWorkspace",
        "/runner.v1.PeerService/Session",
    }
)
"""The methods whose requests bring documents, files and what tasks have exported, and so may be as large as the server takes."""
USUAL_BYTES = 4 << 20
"""What a request of the others may have: it is read, and answered, on the loop. One that a stream of answers follows is small, for
it lasts as long as they do."""
CHANGED_RETRY_SECONDS = 1.0

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs alone
Behaviour = Callable[[Any, Context], Any]

_log = logging.getLogger(__name__)
_caller: ContextVar[Caller] = ContextVar("runner.rpc.guard.caller")
_size: ContextVar[int] = ContextVar("runner.rpc.guard.size", default=0)


class Abort(Protocol):
    """Ends a call with what its caller is told of an error."""

    async def __call__(self, context: Context, error: Exception, /) -> NoReturn: ...


def size() -> int:
    """How many bytes the request had, as it was received; the last one of a stream. 0 where there was none yet."""
    return _size.get()


def caller() -> Caller:
    """Who asks for what is being done at this moment. Raises LookupError where nobody had to say who he is."""
    return _caller.get()


class Guard(grpc.aio.ServerInterceptor):
    """An interceptor for all methods of a server, which have to be coroutines or asynchronous generators. Whoever may not call a
    method is refused before anything of his request is read: to gRPC all requests are streams here, of which one message is taken
    where there is to be one. They are parsed here, too: gRPC would tell callers about its insides where one cannot be.

    `policy` may be replaced while the server runs: calls that follow are judged by the new one, and streams that go on at once.
    """

    def __init__(
        self, identifier: Identifier, policy: Policy, abort: Abort, *, recheck_seconds: float = RECHECK_SECONDS
    ) -> None:
        self._policy = policy
        self._identifier = identifier
        self._abort = abort
        self._intake = Intake()
        self._recheck_seconds = recheck_seconds
        self._ongoing = Ongoing(self._judge, abort, recheck_seconds)
        self._guarded: dict[str, tuple[Handler, Handler]] = {}
        """By method: what it was made of, and what stands before it."""

    @property
    def policy(self) -> Policy:
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._ongoing.look()

    def look(self) -> None:
        """Who may go on may have changed otherwise."""
        self._ongoing.look()

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
        behaviour = getattr(handler, f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}")
        call = _Method(handler, method, behaviour)
        # A stream of answers may also come from a coroutine that writes them by itself.
        guard = self._streaming if inspect.isasyncgenfunction(behaviour) else self._answering
        make = getattr(grpc, f"stream_{_word(handler.response_streaming)}_rpc_method_handler")
        guarded: Handler = make(guard(call), None, handler.response_serializer)
        return guarded

    def _answering(self, call: _Method) -> Behaviour:
        async def answer(received: Any, context: Context) -> Any:
            try:
                async with self._entered(call, received, context) as request:
                    return await call.behaviour(request, context)
            except Exception as error:  # noqa: BLE001 (what it is to the caller the table of errors says)
                await self._end(context, error)

        return answer

    def _streaming(self, call: _Method) -> Behaviour:
        async def stream(received: Any, context: Context) -> AsyncIterator[Any]:
            now = asyncio.get_running_loop().time
            try:
                async with (
                    self._entered(call, received, context) as request,
                    aclosing(call.behaviour(request, context)) as messages,
                ):
                    proof, admitted = Proof.of(context), now()
                    async for message in messages:
                        if now() - admitted >= self._recheck_seconds:
                            self._admit(proof, call.name)
                            admitted = now()
                        yield message
            except Exception as error:  # noqa: BLE001 (as above)
                await self._end(context, error)

        return stream

    @asynccontextmanager
    async def _entered(self, call: _Method, received: AsyncIterable[bytes], context: Context) -> AsyncIterator[Any]:
        """The request, or the requests, of a call that may be made. Raises what `_admit` does, LimitError, UsageError."""
        proof = Proof.of(context)
        caller = self._admit(proof, call.name)
        async with AsyncExitStack() as stack:
            if call.goes_on and caller is None:
                stack.enter_context(self._intake.watch(proof.peer))
            elif call.goes_on and caller is not None:
                stack.enter_context(
                    self._ongoing.counted(context, proof, call.name, caller, answers=call.answers_stream)
                )
            if call.requests_stream:
                yield call.several(received)
            elif caller is None:
                async with self._intake.stranger(proof.peer):
                    message = await anext(aiter(received), None)
                yield call.one(message)
            else:
                yield await self._request(call, received, context, proof, caller, stack)

    async def _request(
        self,
        call: _Method,
        received: AsyncIterable[bytes],
        context: Context,
        proof: Proof,
        caller: Caller,
        stack: AsyncExitStack,
    ) -> Any:
        """The one request. A large one keeps its place until `stack` is left. Whoever takes his time with it is judged again, and loses
        his place with his rights, or when he takes too long."""
        policy, began = self._policy, asyncio.get_running_loop().time()
        counted = self._ongoing.counted(context, proof, call.name, caller, answers=False)
        async with AsyncExitStack() as place:
            with nullcontext() if call.goes_on else counted:
                large = call.name in LARGE
                await place.enter_async_context(self._intake.caller(proof.of_whom, large=large))
                async with intake.arrival(large=large):
                    message = await anext(aiter(received), None)
            waited = asyncio.get_running_loop().time() - began
            if policy is not self._policy or waited >= self._recheck_seconds:
                self._admit(proof, call.name)
            request = call.one(message)
            if message is not None and len(message) > SMALL_BYTES:
                await stack.enter_async_context(place.pop_all())
            return request

    async def _end(self, context: Context, error: Exception) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, NotImplementedError):  # generated code says so of methods that nobody has written
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner does not have this method")
        await self._abort(context, error)

    def _judge(self, proof: Proof, method: str, before: Caller) -> Exception | None:
        """Why a call that goes on has to end, which was begun by what its caller was `before`."""
        try:
            caller = self._admit(proof, method)
        except RunnerError as error:
            return None if isinstance(error, UnavailableError) else error
        if caller is not None and Scope.ADMIN in before.scopes - caller.scopes:
            # He may be looking at what is not his; whether it is that, the next call says.
            return UnavailableError(
                f"what {caller.name!r} may do on this runner has changed: ask again", retry_after=CHANGED_RETRY_SECONDS
            )
        return None

    def _admit(self, proof: Proof, method: str) -> Caller | None:
        """Who calls; None where it does not matter. Raises UnauthenticatedError, ForbiddenError, UnavailableError."""
        need = METHODS.get(method)
        if need is Need.NOTHING:
            return None
        name = None
        try:
            identity = self._identifier.identify(proof)
            name = identity.name
            admitted = self._policy.admit(identity)
            authorize(need, admitted)
        except (UnauthenticatedError, ForbiddenError) as error:
            told = {"action": "call_refused", "method": method, "peer": proof.peer, "caller": name}
            _log.info("%s", error.message, extra=told)
            raise
        _caller.set(admitted)
        return admitted


class _Method:
    """A method as it was before it was guarded."""

    def __init__(self, handler: Handler, name: str, behaviour: Behaviour) -> None:
        self.name = name
        self.behaviour = behaviour
        self.requests_stream: bool = handler.request_streaming
        self.answers_stream: bool = handler.response_streaming
        self.goes_on = self.requests_stream or self.answers_stream
        self._deserialize = handler.request_deserializer or bytes
        self._limit = None if name in LARGE else SMALL_BYTES if self.answers_stream else USUAL_BYTES

    def one(self, received: bytes | None) -> Any:
        """The request. Raises UsageError for what is none, and LimitError for one that is too large to be read."""
        if received is None:
            raise UsageError(f"the call of {self.name} ended without a request")
        if self._limit is not None and len(received) > self._limit:
            raise LimitError(
                f"a request of {self.name} may have {self._limit:,} bytes at most: ask for less at once",
                limit=self._limit,
            )
        _size.set(len(received))
        try:
            return self._deserialize(received)
        except DecodeError:
            raise UsageError(
                f"the request of {self.name} cannot be read: expected a message as the runner's protocol has it, and text in UTF-8"
            ) from None

    async def several(self, received: AsyncIterable[bytes]) -> AsyncIterator[Any]:
        async for each in received:
            yield self.one(each)


def _word(streaming: bool) -> str:
    return "stream" if streaming else "unary"
