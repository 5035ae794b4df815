"""Makes calls of the service places at which a node can be killed: before a method begins, and before its answer, or the next message
of its stream, is sent."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc

from tests.chaos.sabotage import Saboteur

RPC = "rpc"
_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def sabotage(saboteur: Saboteur) -> None:
    """All servers that are made from now on."""
    aio: Any = grpc.aio
    make = aio.server

    def made(*, interceptors: Sequence[grpc.aio.ServerInterceptor] = (), **named: Any) -> Any:
        return make(interceptors=[_Counting(saboteur), *interceptors], **named)

    aio.server = made


class _Counting(grpc.aio.ServerInterceptor):
    def __init__(self, saboteur: Saboteur) -> None:
        self._saboteur = saboteur

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        name = handler_call_details.method.rpartition("/")[2]
        if handler is None or not handler_call_details.method.startswith("/runner."):
            return handler
        kind = _KINDS[handler.request_streaming, handler.response_streaming]
        behaviour = getattr(handler, kind)
        counted = (self._stream if handler.response_streaming else self._answer)(behaviour, name)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(counted, handler.request_deserializer, handler.response_serializer)

    def _answer(self, behaviour: Any, name: str) -> Any:
        @functools.wraps(behaviour)
        async def answer(request: Any, context: Any) -> Any:
            self._count(f"{name} begins")
            answered = await behaviour(request, context)
            self._count(f"{name} answers")
            return answered

        return answer

    def _stream(self, behaviour: Any, name: str) -> Any:
        @functools.wraps(behaviour)
        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            self._count(f"{name} begins")
            async for message in behaviour(request, context):
                self._count(f"{name} tells")
                yield message

        return stream

    def _count(self, what: str) -> None:
        self._saboteur.call(RPC, what, lambda: None, None)
