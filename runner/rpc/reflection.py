"""Tells callers of the services that there are. What tells of them is imported when somebody asks, which hardly anybody does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2_grpc

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ServerReflection"].full_name


class Servicer(reflection_pb2_grpc.ServerReflectionServicer):
    """Of the services with these names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[pb.ServerReflectionRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        from grpc_reflection.v1alpha.reflection import aio

        asked: Any = aio.ReflectionServicer(self._names)  # a generator, which its stubs do not know
        async for answer in asked.ServerReflectionInfo(requests, context):
            yield answer


def enable(names: Sequence[str], server: grpc.aio.Server) -> None:
    """Let `server` tell of the services of these names, and of this one."""
    servicer = Servicer((*names, SERVICE_NAME))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]  # of its stubs
