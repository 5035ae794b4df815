"""The spans of a node, as a collector gets them; what tasks are told of their trace; and a collector that is of no use."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from runner.config.service import Tracing
from runner.errors import UsageError
from runner.model import trace
from runner.telemetry import otlp
from runner.v1 import runner_pb2 as pb
from tests.collector import Collector, collecting, told
from tests.integration.test_metrics import STARTS_A_NODE
from tests.material import Material
from tests.rpc import Desk, command, desk, document

pytestmark = pytest.mark.timeout(60)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TELL = 'printf "%s" "$TRACEPARENT"'


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is the same however long a span waits for others, and for a collector that has no time."""
    monkeypatch.setattr(otlp, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(otlp, "PAUSE_SECONDS", 0.05)


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that ends waits less for a collector that does not answer."""
    monkeypatch.setattr(otlp, "LAST_WORDS_SECONDS", 0.3)


def given_to(collector: Collector, **more: Any) -> Tracing:
    return Tracing(endpoint=f"http://{collector.address}", **more)


async def submit(at: Desk, *tasks: dict[str, Any], traceparent: str = "", **more: Any) -> str:
    request = pb.SubmitTaskGroupRequest(document=document(*tasks, **more))
    metadata = (("traceparent", traceparent),) if traceparent else ()
    return str((await at.stub.SubmitTaskGroup(request, metadata=metadata)).id)


def hangs(free: threading.Event) -> Callable[[grpc.ServicerContext], None]:
    """Until it is set free."""

    def answer(context: grpc.ServicerContext) -> None:
        free.wait()

    return answer


async def told_to(at: Desk, id: str, task: str) -> str:
    """What `TELL` has printed."""
    await at.watched(id)
    return b"".join([chunk.data for chunk in await at.read(id, task)]).decode()


async def test_a_group_is_a_trace_and_an_attempt_a_span(tmp_path: Path) -> None:
    with collecting() as collector:
        before = time.time_ns()
        async with desk(tmp_path, tracing=given_to(collector)) as at:
            tasks = [
                command("good", TELL),
                command("bad", "exit 3", retry={"attempts": 2, "delay": 0}),
                command("never", "true", depends_on=["bad"]),
            ]
            id = await submit(at, *tasks)
            passed_on = await told_to(at, id, "good")
        # What there was to tell has been told before the node was gone.
        spans = sorted(collector.spans, key=lambda span: (span.name, span.start_time_unix_nano))
        first, second, good, group = spans
        assert [span.name for span in spans] == ["bad", "bad", "good", "test"]
        assert before < group.start_time_unix_nano <= good.start_time_unix_nano < good.end_time_unix_nano
        assert good.end_time_unix_nano <= group.end_time_unix_nano < time.time_ns()
        assert {span.trace_id for span in spans} == {group.trace_id}
        assert (group.parent_span_id, group.kind) == (b"", Span.SPAN_KIND_INTERNAL)
        assert {span.parent_span_id for span in (first, second, good)} == {group.span_id}
        assert len({span.span_id for span in spans}) == 4
        assert passed_on == f"00-{group.trace_id.hex()}-{good.span_id.hex()}-01"
        failed = Status(code=Status.STATUS_CODE_ERROR, message="failed")
        assert [span.status for span in spans] == [failed, failed, Status(), failed]
        assert told(group) == {
            "runner.group.id": id,
            "runner.group.name": "test",
            "runner.group.tasks": 3,
            "runner.caller": told(group)["runner.caller"],
            "runner.status": "failed",
        }
        assert told(second) == {
            "runner.group.id": id,
            "runner.task.name": "bad",
            "runner.task.type": "os_exec",
            "runner.attempt": 2,
            "runner.name": "n1",
            "runner.status": "failed",
            "process.exit.code": 3,
        }
        (resource,) = {request.resource_spans[0].resource.SerializeToString() for request in collector.requests}
        assert b"service.name" in resource
        assert b"n1" in resource


async def test_who_submits_it_gives_the_trace(tmp_path: Path) -> None:
    with collecting() as collector:
        async with desk(tmp_path, tracing=given_to(collector)) as at:
            id = await submit(at, command("t", TELL), traceparent=f"00-{TRACE}-{SPAN}-01")
            passed_on = await told_to(at, id, "t")
        spans = {span.name: span for span in collector.spans}
        assert spans["test"].trace_id.hex() == spans["t"].trace_id.hex() == TRACE
        assert spans["test"].parent_span_id.hex() == SPAN
        assert spans["t"].parent_span_id == spans["test"].span_id
        assert passed_on == f"00-{TRACE}-{spans['t'].span_id.hex()}-01"


@pytest.mark.parametrize("given", ["nonsense", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01"])
async def test_what_is_no_traceparent_is_ignored(tmp_path: Path, given: str) -> None:
    with collecting() as collector:
        async with desk(tmp_path, tracing=given_to(collector)) as at:
            await told_to(at, await submit(at, command("t", TELL), traceparent=given), "t")
        group = next(span for span in collector.spans if span.name == "test")
        assert group.trace_id.hex() != TRACE
        assert group.parent_span_id == b""


async def test_what_nobody_wants_to_see_is_not_told(tmp_path: Path) -> None:
    with collecting() as collector:
        async with desk(tmp_path, tracing=given_to(collector)) as at:
            id = await submit(at, command("t", TELL), traceparent=f"00-{TRACE}-{SPAN}-00")
            passed_on = trace.parse(await told_to(at, id, "t"))
            assert passed_on is not None
            assert (passed_on.trace_id, passed_on.flags) == (TRACE, 0)
        assert collector.spans == []


async def test_tasks_are_told_where_nobody_collects(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await submit(at, command("t", TELL), traceparent=f"00-{TRACE}-{SPAN}-01")
        passed_on = trace.parse(await told_to(at, id, "t"))
        assert passed_on is not None
        assert passed_on.trace_id == TRACE
        assert passed_on.span_id != SPAN
        assert await told_to(at, await submit(at, command("t", TELL)), "t") == ""


async def test_what_a_group_or_a_task_says_itself_wins(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        own = {"type": "os_exec", "spec": {"command": TELL, "envs": {"TRACEPARENT": "mine"}}}
        parent = f"00-{TRACE}-{SPAN}-01"
        id = await submit(
            at, {"name": "own", **own}, command("ours", TELL), env={"TRACEPARENT": "our"}, traceparent=parent
        )
        assert await told_to(at, id, "own") == "mine"
        assert await told_to(at, id, "ours") == "our"


async def test_nothing_confidential_is_told(tmp_path: Path) -> None:
    secret = "hunter2-and-more"
    with collecting() as collector:
        async with desk(tmp_path, tracing=given_to(collector)) as at:
            inputs = {"password": {"confidential": True}}
            script = "echo {{ inputs.password | shquote }} >&2; exit 1"
            bad = {
                "name": "nofile",
                "type": "os_exec",
                "spec": {"command": "true", "workdir": "/{{ inputs.password }}"},
            }
            raw = document(command("t", script), bad, inputs=inputs)
            request = pb.SubmitTaskGroupRequest(document=raw, inputs={"password": secret})
            await at.watched((await at.stub.SubmitTaskGroup(request)).id)
        assert {span.name for span in collector.spans} == {"t", "nofile", "test"}
        assert secret.encode() not in b"".join(request.SerializeToString() for request in collector.requests)


async def test_it_knows_whom_it_tells_and_says_who_it_is(tmp_path: Path) -> None:
    material = Material.make(tmp_path / "pki")
    headers = tmp_path / "headers"
    headers.write_text("# ours\nAuthorization: Bearer abc\n\nx-scope-orgid: 7\n")
    pair = (material.tls.key.read_bytes(), material.tls.certificate.read_bytes())
    with collecting(credentials=grpc.ssl_server_credentials([pair])) as collector:
        wanted = Tracing(endpoint=f"https://{collector.address}", ca=tmp_path / "pki" / "ca.pem", headers_file=headers)
        async with desk(tmp_path / "state", tracing=wanted) as at:
            await at.watched(await submit(at, command("t", "true")))
        assert {span.name for span in collector.spans} == {"t", "test"}
        assert (collector.headers[0]["authorization"], collector.headers[0]["x-scope-orgid"]) == ("Bearer abc", "7")


@pytest.mark.parametrize(
    "text", ["Bearer secret", "a: b\nsecret\n", "grpc-timeout: secret", "x-bin: secret", "ä: secret"]
)
async def test_headers_that_are_none(tmp_path: Path, text: str) -> None:
    headers = tmp_path / "headers"
    headers.write_text(text)
    with pytest.raises(UsageError, match=r"tracing.headers_file: .*headers") as caught:
        async with desk(tmp_path / "state", tracing=Tracing(endpoint="http://127.0.0.1:1", headers_file=headers)):
            pass
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("few_words")
async def test_a_collector_that_hangs_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    free = threading.Event()
    with collecting(answer=hangs(free)) as collector:
        with caplog.at_level(logging.WARNING):
            async with desk(tmp_path, tracing=given_to(collector)) as at:
                await at.watched(await submit(at, command("a", "true")))
                await asyncio.to_thread(collector.until, lambda: bool(collector.headers))  # from now on it hangs
                for _ in range(3):
                    await at.watched(await submit(at, command("b", "true")))
        # The node has ended all the same.
        lost = [record for record in caplog.records if getattr(record, "action", "") == "spans_lost"]
        assert sum(record.__dict__["spans"] for record in lost) == 8
        free.set()


@pytest.mark.usefixtures("few_words")
async def test_without_a_collector_groups_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with desk(tmp_path, tracing=Tracing(endpoint="http://127.0.0.1:1")) as at:
            await at.watched(await submit(at, command("t", "true")))
    (lost,) = [record for record in caplog.records if getattr(record, "action", "") == "spans_lost"]
    assert lost.__dict__["spans"] == 2


async def test_a_collector_that_refuses_is_asked_again(tmp_path: Path) -> None:
    refusals = iter([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])

    def answer(context: grpc.ServicerContext) -> None:
        code = next(refusals, None)
        if code is not None:
            context.abort(code, "not now")

    with collecting(answer=answer) as collector:
        async with desk(tmp_path, tracing=given_to(collector)) as at:
            await at.watched(await submit(at, command("t", "true")))
            await asyncio.to_thread(collector.until_told_of, "t", "test")
        assert len(collector.spans) == 2


@pytest.mark.usefixtures("few_words")
def test_more_than_can_be_kept_is_lost_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    free = threading.Event()
    with collecting(answer=hangs(free)) as collector, caplog.at_level(logging.WARNING):
        exporter = otlp.Exporter(given_to(collector), Resource())
        for _ in range(otlp.SPANS_KEPT + 10_000):
            exporter.put(Span())
        exporter.close()
        free.set()
    lost = sum(record.__dict__["spans"] for record in caplog.records if getattr(record, "action", "") == "spans_lost")
    assert lost == otlp.SPANS_KEPT + 10_000


async def test_where_nobody_asks_there_is_nothing_of_it(tmp_path: Path) -> None:
    look = STARTS_A_NODE.replace('("prometheus_client", "runner.telemetry.")', '("opentelemetry", "runner.telemetry.")')
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", look, tmp_path / "a", stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await started.communicate()
    assert out.decode().strip() == "['runner.telemetry.base', 'runner.telemetry.opening']"  # which import nothing
