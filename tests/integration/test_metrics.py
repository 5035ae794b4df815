"""What a node counts, as Prometheus reads it; and that there is nothing of it where nobody asks."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.config.service import Metrics
from runner.errors import UsageError
from runner.store.sqlite import SqliteStore
from runner.v1 import runner_pb2 as pb
from tests.rpc import WAIT_SECONDS, command, desk

pytestmark = pytest.mark.timeout(60)
ANYWHERE = Metrics(listen=("127.0.0.1:0",))

STARTS_A_NODE = """
import asyncio, sys
from pathlib import Path
from tests.rpc import desk

async def main():
    async with desk(Path(sys.argv[1])):
        print(sorted(name for name in sys.modules if name.startswith(("prometheus_client", "runner.telemetry."))))

asyncio.run(main())
"""


async def ask(address: str, request: bytes = b"GET /metrics HTTP/1.1\r\n\r\n") -> tuple[str, str]:
    """The status and the body of the answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.partition("\r\n")[0].removeprefix("HTTP/1.1 "), body


def values(text: str) -> dict[tuple[str, ...], float]:
    """By the name and the values of the labels, in the order of these."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items(), reverse=True))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def documented() -> dict[str, tuple[str, ...]]:
    """The labels of each metric by its name, as docs/operation.md has them."""
    page = (Path(__file__).parents[2] / "docs" / "operation.md").read_text()
    return {
        name: tuple(sorted(re.findall(r"`(\w+)`", labels)))
        for names, labels in re.findall(r"^\| (`runner_[^|]*) \|([^|]*)\|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }


def shown(text: str) -> dict[str, tuple[str, ...]]:
    """The same of an answer; samples of a histogram are one metric."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                name = family.name if family.type == "histogram" else sample.name
                found[name] = tuple(sorted(set(sample.labels) - {"le"}))
    return found


async def test_what_has_happened_is_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, metrics=ANYWHERE, max_parallel=1) as at:
        (address,) = at.serving.metrics
        tasks: list[dict[str, Any]] = [
            command("good", "echo 01234567890"),
            command("bad", "exit 1", retry={"attempts": 2, "delay": 0}),
            command("never", "true", depends_on=["bad"]),
        ]
        await at.watched(await at.submit(*tasks, id="g"))
        with pytest.raises(grpc.aio.AioRpcError):
            await at.get("unknown")
        expected = {
            ("runner_groups_accepted_total",): 1,
            ("runner_groups_finished_total", "failed"): 1,
            ("runner_tasks_finished_total", "os_exec", "success"): 1,
            ("runner_tasks_finished_total", "os_exec", "failed"): 1,
            ("runner_tasks_finished_total", "os_exec", "skipped"): 1,
            ("runner_attempts_started_total", "os_exec"): 3,
            ("runner_task_retries_total",): 1,
            ("runner_queue_wait_seconds_count",): 3,
            ("runner_rpc_seconds_count", "SubmitTaskGroup", "OK"): 1,
            ("runner_rpc_seconds_count", "GetTaskGroup", "NOT_FOUND"): 1,
            ("runner_rpc_seconds_count", "WatchTaskGroup", "OK"): 1,
            ("runner_slots",): 1,
            ("runner_attempts_running",): 0,
            ("runner_groups_active",): 0,
            ("runner_groups_kept",): 1,
            ("runner_streams",): 0,
            ("runner_supervisor_restarts",): 0,
            ("runner_log_bytes_total",): 12,
        }
        with suppress(TimeoutError):  # a call may be counted behind the end that its caller hears of
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    status, body = await ask(address)
                    assert status == "200 OK"
                    found = values(body)
                    if expected.items() <= found.items():
                        break
        assert {name: found.get(name) for name in expected} == expected
        assert shown(body) == documented()
        for name in (
            "runner_commit_seconds_count",
            "runner_sync_seconds_count",
            "runner_disk_free_bytes",
            "runner_database_bytes",
        ):
            assert found[name,] > 0


async def test_nothing_else_is_answered(tmp_path: Path) -> None:
    async with desk(tmp_path, metrics=ANYWHERE) as at:
        (address,) = at.serving.metrics
        assert (await ask(address, b"GET / HTTP/1.1\r\n\r\n"))[0] == "404 Not Found"
        assert (await ask(address, b"POST /metrics HTTP/1.1\r\n\r\n"))[0] == "405 Method Not Allowed"
        assert (await ask(address, b"\x00\xff\r\n\r\n"))[0] == "404 Not Found"
        assert await ask(address, b"x" * 100_000) == ("", "")
        with pytest.raises(UsageError, match=f"metrics.listen: {address} cannot be listened on"):
            async with desk(tmp_path / "other", metrics=Metrics(listen=(address,))):
                pass


async def test_a_socket_will_do(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    async with desk(tmp_path / "state", metrics=Metrics(listen=(f"unix:{path}",))) as at:
        assert at.serving.metrics == [f"unix:{path}"]
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"runner_slots 8.0" in await reader.read()
        writer.close()
    assert not path.exists()


async def test_streams_that_end_are_counted_with_how_they_end(tmp_path: Path) -> None:
    async with desk(tmp_path, metrics=ANYWHERE) as at:
        id = await at.submit(command("w", "while [ ! -e go ]; do sleep 0.02; done"))
        call = at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id))
        await call.read()
        assert values((await ask(at.serving.metrics[0]))[1])["runner_streams",] == 1
        call.cancel()
        name = ("runner_rpc_seconds_count", "WatchTaskGroup", "CANCELLED")
        while not values((await ask(at.serving.metrics[0]))[1]).get(name):
            pass
        await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id, at_once=True))
        await at.watched(id)


async def test_where_nobody_asks_there_is_nothing_of_it(tmp_path: Path) -> None:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTS_A_NODE, tmp_path / "a", stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await started.communicate()
    assert out.decode().strip() == "['runner.telemetry.base', 'runner.telemetry.opening']"  # which import nothing
    async with desk(tmp_path / "b") as at:
        assert type(at.serving.node.store) is SqliteStore
        assert at.serving.metrics == ()
