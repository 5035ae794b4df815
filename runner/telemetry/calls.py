"""Tells how the calls of a gRPC server end."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from time import perf_counter
from typing import Any, TypeAlias

import grpc

from runner.telemetry.base import Telemetry

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs alone
Behaviour = Callable[[Any, Any], Any]


class Watcher(grpc.aio.ServerInterceptor):
    """The first of a server's interceptors."""

    def __init__(self, telemetry: Sequence[Telemetry]) -> None:
        self._telemetry = telemetry
        self._watched: dict[str, tuple[Handler, Handler]] = {}
        """By method: what it was made of, and what stands before it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # there is no such method, and its name is anybody's
        method = handler_call_details.method
        known = self._watched.get(method)
        if known is None or known[0] is not handler:
            known = self._watched[method] = (handler, self._watch(handler, method.rpartition("/")[2]))
        return known[1]

    def _watch(self, handler: Handler, name: str) -> Handler:
        kind = "_".join(
            "stream" if each else "unary" for each in (handler.request_streaming, handler.response_streaming)
        )
        behaviour = getattr(handler, kind)
        wrap = self._streaming if inspect.isasyncgenfunction(behaviour) else self._answering
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        watched: Handler = make(wrap(behaviour, name), handler.request_deserializer, handler.response_serializer)
        return watched

    def _answering(self, behaviour: Behaviour, name: str) -> Behaviour:
        async def answer(request: Any, context: Any) -> Any:
            with self._call(name, context):
                return await behaviour(request, context)

        return answer

    def _streaming(self, behaviour: Behaviour, name: str) -> Behaviour:
        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            with self._call(name, context):
                async with aclosing(behaviour(request, context)) as messages:
                    async for message in messages:
                        yield message

        return stream

    @contextmanager
    def _call(self, name: str, context: Any) -> Iterator[None]:
        began = perf_counter()
        code = "CANCELLED"
        try:
            yield
            code = "OK"
        except grpc.aio.AbortError:
            code = _name(context.code())
            raise
        except Exception:
            code = "UNKNOWN"
            raise
        finally:
            for each in self._telemetry:
                each.called(name, code, perf_counter() - began)


def _name(code: Any) -> str:
    """`context.code()` gives a number, or None."""
    return next((known.name for known in grpc.StatusCode if code in (known, known.value[0])), "UNKNOWN")
