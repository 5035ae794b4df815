"""Brings spans to a collector, by OTLP over gRPC, on a thread of its own.

Whatever the collector does keeps nobody waiting: spans that it does not take in time are lost, and counted in the node's log.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, Full, Queue
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from runner import __version__
from runner.config.service import Tracing
from runner.errors import UsageError

SPANS_KEPT = 8192
"""While the collector does not answer."""
SPANS_AT_ONCE = 512
LINGER_SECONDS = 1.0
"""How long a span waits for others."""
PATIENCE_SECONDS = 10.0
"""For one batch."""
PAUSE_SECONDS = 1.0
"""Before one that was not taken is sent again."""
LAST_WORDS_SECONDS = 3.0
USUAL_PORT = 4317

_AGAIN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED})
_HEADER = re.compile(r"([A-Za-z0-9_.-]+)\s*:\s*([ -~]+)")
_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 5000))

_log = logging.getLogger(__name__)


class Exporter:
    def __init__(self, wanted: Tracing, resource: Resource) -> None:
        """Raises UsageError for a file that cannot be read or makes no sense."""
        parts = urlsplit(wanted.endpoint or "")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._target = f"{host}:{parts.port or USUAL_PORT}"
        self._headers = () if wanted.headers_file is None else _headers(wanted.headers_file)
        self._credentials = None
        if parts.scheme == "https":
            issuers = None if wanted.ca is None else _read(wanted.ca, "tracing.ca")
            self._credentials = grpc.ssl_channel_credentials(root_certificates=issuers)
        self._resource = resource
        self._queue: Queue[Span | None] = Queue(SPANS_KEPT)
        self._dropped = 0
        """How many had no room. Counted where they come from, told where they are sent."""
        self._told = 0
        self._closing = threading.Event()
        self._over = threading.Event()
        """Nothing more is sent."""
        self._channel = self._open()
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Send it some time, or never. Takes no time."""
        try:
            self._queue.put_nowait(span)
        except Full:
            self._dropped += 1

    def close(self) -> None:
        """Send what there is, for a moment at most. Blocks."""
        self._closing.set()
        with suppress(Full):
            self._queue.put_nowait(None)  # for who waits for the next span
        self._thread.join(LAST_WORDS_SECONDS)
        self._over.set()
        self._channel.close()  # which ends a call that is under way
        self._thread.join(LAST_WORDS_SECONDS)

    def _open(self) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(self._target, options=_OPTIONS)
        return grpc.secure_channel(self._target, self._credentials, options=_OPTIONS)

    def _work(self) -> None:
        while spans := self._batch():
            problem = "the node ends" if self._over.is_set() else self._sent(spans)
            dropped = self._dropped - self._told
            self._told += dropped
            lost = dropped if problem is None else dropped + len(spans)
            if lost:
                why = problem or "the collector was too slow"
                _log.warning("spans are lost: %s", why, extra={"action": "spans_lost", "spans": lost})

    def _batch(self) -> list[Span]:
        """Empty once all is over."""
        spans: list[Span] = []
        due: float | None = None
        while len(spans) < SPANS_AT_ONCE:
            left = 0.0 if self._closing.is_set() else None if due is None else max(0.0, due - time.monotonic())
            try:
                span = self._queue.get(timeout=left)
            except Empty:
                break
            if span is not None:
                spans.append(span)
                due = due or time.monotonic() + LINGER_SECONDS
        return spans

    def _sent(self, spans: list[Span]) -> str | None:
        """What went wrong, if something did."""
        scope = ScopeSpans(scope=InstrumentationScope(name="runner", version=__version__), spans=spans)
        request = ExportTraceServiceRequest(
            resource_spans=[ResourceSpans(resource=self._resource, scope_spans=[scope])]
        )
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                stub = TraceServiceStub(self._channel)  # type: ignore[no-untyped-call]  # it is generated without types
                answer = stub.Export(
                    request, timeout=until - time.monotonic(), metadata=self._headers, wait_for_ready=True
                )
            except grpc.RpcError as error:
                code = error.code()
                if code not in _AGAIN or time.monotonic() + PAUSE_SECONDS >= until or self._over.wait(PAUSE_SECONDS):
                    self._renew()
                    return f"{self._target} answers {code.name}"
            except ValueError:
                return "the node ends"  # the channel was closed
            else:
                refused = answer.partial_success.rejected_spans
                return f"{self._target} has refused {refused:,} of {len(spans):,}" if refused else None

    def _renew(self) -> None:
        """A connection whose other end is gone without a word looks like a slow one."""
        if not self._over.is_set():
            self._channel.close()
            self._channel = self._open()


def _headers(file: Path) -> tuple[tuple[str, str], ...]:
    """What stands in it, which is nobody's business: messages name the line alone. Raises UsageError."""
    try:
        lines = _read(file, "tracing.headers_file").decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"tracing.headers_file: {file} is no text in ASCII; expected lines of `name: value`") from None
    found = []
    for number, line in enumerate(lines, start=1):
        if not (text := line.strip()) or text.startswith("#"):
            continue
        match = _HEADER.fullmatch(text)
        name = "" if match is None else match[1].lower()
        if match is None or name.startswith("grpc-") or name.endswith("-bin"):
            raise UsageError(f"tracing.headers_file: {file}:{number} is no header; expected `name: value`")
        found.append((name, match[2]))
    return tuple(found)


def _read(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{key}: {file}: {error.strerror or error}") from error
