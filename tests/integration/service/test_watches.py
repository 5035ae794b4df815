"""The gRPC service over a whole node (its socket, its store, its supervisor): groups that are watched."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import PRINTS, WAITS
from tests.rpc import WAIT_SECONDS, command, desk

pytestmark = pytest.mark.timeout(90)


async def test_submitted_watched_and_read(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(PRINTS, command("next", "pwd", depends_on=["prints"]), id="abc", labels={"k": "v"})
        seen = await at.watched(id, output=True)
        kinds = [happening.event.WhichOneof("fact") for happening in seen if happening.HasField("event")]
        assert kinds == [
            "group_accepted", "group_started",
            "task_dispatched", "task_started", "task_export", "task_finished",
            "task_dispatched", "task_started", "task_finished", "group_finished",
        ]  # fmt: skip
        assert [happening.event.number for happening in seen if happening.HasField("event")] == list(range(1, 11))
        logs = {(chunk.task, chunk.stream): chunk.data for happening in seen if (chunk := happening.log).task}
        assert logs[("prints", pb.STREAM_STDOUT)] == b"out"
        assert logs[("prints", pb.STREAM_STDERR)] == b"err"
        assert logs[("next", pb.STREAM_STDOUT)].endswith(b"/workspaces/abc\n")
        answer = await at.get(id)
        assert (answer.group.status, answer.group.caller, dict(answer.group.labels)) == (
            pb.STATUS_SUCCESS,
            "local",
            {"k": "v"},
        )
        assert [(task.name, task.exit_code, task.runner) for task in answer.tasks] == [
            ("prints", 0, "n1"),
            ("next", 0, "n1"),
        ]
        assert answer.tasks[0].outputs["x"].text == "1"
        assert await at.watched(id, after_event=10) == []
        assert [one.event.number for one in await at.watched(id, after_event=8)] == [9, 10]


async def test_output_comes_between_the_start_and_the_end_of_its_attempt(tmp_path: Path) -> None:
    tasks = [command(f"t{number}", "seq 2000; echo end >&2; exit 3", retry={"attempts": 2}) for number in range(6)]
    async with desk(tmp_path) as at:
        seen = await at.watched(await at.submit(*tasks), output=True)
    running: set[tuple[str, int]] = set()
    sizes: Counter[tuple[str, int]] = Counter()
    for happening in seen:
        event, log = happening.event, happening.log
        if happening.HasField("log"):
            assert (log.task, log.attempt) in running
            sizes[log.task, log.attempt] += len(log.data)
        elif event.WhichOneof("fact") == "task_started":
            running.add((event.task, event.attempt))
        elif event.WhichOneof("fact") in ("task_finished", "task_retrying"):
            running.remove((event.task, event.attempt))
    assert set(sizes.values()) == {8893 + 4}
    assert len(sizes) == 12


async def test_a_watch_goes_on_wherever_it_was_cut(tmp_path: Path) -> None:
    script = "for i in $(seq 40); do echo line $i; sleep 0.01; done"
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", script), command("b", script))
        after, positions = 0, dict[tuple[str, int], int]()
        texts: dict[str, bytes] = {"a": b"", "b": b""}
        numbers: list[int] = []
        for cut in (*range(1, 30), 10_000):
            request = pb.WatchTaskGroupRequest(
                id=id,
                after_event=after,
                output=True,
                positions=[
                    pb.LogPosition(task=task, attempt=attempt, position=position)
                    for (task, attempt), position in positions.items()
                ],
            )
            call = at.stub.WatchTaskGroup(request, timeout=WAIT_SECONDS)
            messages = 0
            async for message in call:
                for happening in message.happenings:
                    if happening.HasField("event"):
                        after = happening.event.number
                        numbers.append(after)
                    else:
                        log = happening.log
                        texts[log.task] += log.data
                        positions[log.task, log.attempt] = log.position
                messages += 1
                if messages >= cut:
                    break
            call.cancel()
        whole = b"".join(b"line %d\n" % number for number in range(1, 41))
        assert texts == {"a": whole, "b": whole}
        assert numbers == list(range(1, numbers[-1] + 1))


async def test_only_some_tasks_are_watched(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", "echo a"), command("b", "echo b"))
        seen = await at.watched(id, output=True, tasks=["b"])
        assert {happening.event.task or happening.log.task for happening in seen} == {"", "b"}


@pytest.mark.parametrize("after", [100, 1 << 63, (1 << 64) - 1])
async def test_a_watch_from_behind_the_end_has_an_end(tmp_path: Path, after: int) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", WAITS))
        async for _ in (call := at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id))):
            break
        call.cancel()
        watching = asyncio.create_task(at.watched(id, after_event=after))
        await asyncio.sleep(0)
        (tmp_path / "workspaces" / id / "go").touch()
        assert await watching == []


async def test_whoever_reads_slowly_misses_nothing_and_holds_nobody_up(tmp_path: Path) -> None:
    size = 30_000_000
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", f"head -c {size} /dev/zero"))
        slow = aiter(at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id, output=True), timeout=WAIT_SECONDS))
        first = await anext(slow)
        await at.watched(id)  # it ends although somebody does not read
        got = sum(len(happening.log.data) for happening in first.happenings)
        async for message in slow:
            got += sum(len(happening.log.data) for happening in message.happenings)
        assert got == size
