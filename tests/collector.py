"""A collector of OpenTelemetry for tests: a real gRPC server that keeps what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_SECONDS = 30.0


class Collector(TraceServiceServicer):
    """`answer` says what it does with a call; it takes what it is given, unless it is told otherwise."""

    def __init__(self, answer: Callable[[grpc.ServicerContext], None]) -> None:
        self._answer = answer
        self._news = threading.Condition()
        self.address = ""
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str | bytes]] = []

    def Export(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> ExportTraceServiceResponse:
        with self._news:
            self.headers.append(dict(context.invocation_metadata()))
            self._news.notify_all()
        self._answer(context)
        with self._news:
            self.requests.append(request)
            self._news.notify_all()
        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def until(self, condition: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(condition, WAIT_SECONDS), [span.name for span in self.spans]

    def until_told_of(self, *names: str) -> dict[str, Span]:
        """The spans of these names, each the last of its name."""
        self.until(lambda: {span.name for span in self.spans}.issuperset(names))
        return {span.name: span for span in self.spans}


@contextmanager
def collecting(
    *,
    answer: Callable[[grpc.ServicerContext], None] = lambda context: None,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[Collector]:
    collector = Collector(answer)
    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # it is generated without types
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    collector.address = f"127.0.0.1:{port}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def told(span: Span) -> dict[str, Any]:
    """Its attributes."""
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}
