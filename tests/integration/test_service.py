"""The gRPC service over a whole node: its socket, its store, its supervisor."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from runner.config.service import Limits, Rule, Scope
from runner.rpc import guard, status
from runner.rpc.status import DETAILS_KEY
from runner.v1 import runner_pb2 as pb
from tests.rpc import WAIT_SECONDS, command, desk, document

pytestmark = pytest.mark.timeout(90)
Code = grpc.StatusCode

PRINTS = command(
    "prints", "printf out; printf err >&2; echo x=1 >> $OUTPUT_FILE", exports=[{"name": "x", "scope": "global"}]
)
WAITS = "while [ ! -e go ]; do sleep 0.02; done"


def refused(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, float | None]:
    """Its code, its reason, and in how many seconds it is worth trying again."""
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    assert isinstance(details, bytes)
    back = status.from_wire(error.code(), error.details() or "", details)
    return error.code(), back.message, getattr(back, "retry_after", None)


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


async def test_submissions_are_idempotent(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        request = pb.SubmitTaskGroupRequest(document=document(command("a", "true")), id="g")
        answers = await asyncio.gather(*(at.stub.SubmitTaskGroup(request) for _ in range(10)))
        assert sorted(answer.existed for answer in answers) == [False] + [True] * 9
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.submit(command("a", "false"), id="g")
        assert refused(caught.value)[0] is Code.ALREADY_EXISTS
        assert len((await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest())).groups) == 1


async def test_logs_from_any_offset_and_to_any_limit(tmp_path: Path) -> None:
    whole = b"".join(b"%d\n" % number for number in range(1, 100_001))
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", "seq 100000; echo other >&2"))
        await at.watched(id)
        assert b"".join(chunk.data for chunk in await at.read(id, "a", stream=pb.STREAM_STDOUT)) == whole
        for offset in (1, 65_535, 65_536, len(whole) - 1, len(whole), len(whole) + 5):
            chunks = await at.read(id, "a", stream=pb.STREAM_STDOUT, offset=offset, limit=1000)
            assert b"".join(chunk.data for chunk in chunks) == whole[offset : offset + 1000]
            assert not chunks or chunks[0].offset == offset
        both = await at.read(id, "a")
        assert sum(len(chunk.data) for chunk in both) == len(whole) + 6
        behind = await at.read(id, "a", position=both[0].position)
        assert [chunk.offset for chunk in behind] == [chunk.offset for chunk in both[1:]]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.read(id, "a", offset=5)
        assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_a_log_is_followed_from_before_its_start_to_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(
            command("first", WAITS), command("a", "echo one; sleep 0.1; echo two", depends_on=["first"])
        )
        following = asyncio.create_task(at.read(id, "a", follow=True))
        await asyncio.sleep(0)
        (tmp_path / "workspaces" / id / "go").touch()
        assert b"".join(chunk.data for chunk in await following) == b"one\ntwo\n"


async def test_a_log_of_a_task_that_never_starts_has_an_end(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("first", f"{WAITS}; false"), command("a", "echo", depends_on=["first"]))
        following = asyncio.create_task(at.read(id, "a", follow=True))
        await asyncio.sleep(0)
        (tmp_path / "workspaces" / id / "go").touch()
        assert await following == []


async def test_a_cancel_may_be_repeated(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        cleans = command("cleans", "sleep 60", depends_on=["long"], when="always")
        id = await at.submit(command("long", "sleep 60"), cleans)
        for _ in range(5):
            await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id))
        request = pb.WatchTaskGroupRequest(id=id)
        async for message in at.stub.WatchTaskGroup(request, timeout=WAIT_SECONDS):
            if any(one.event.task == "cleans" and one.event.HasField("task_started") for one in message.happenings):
                await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id, at_once=True))
        answer = await at.get(id)
        assert (answer.group.status, answer.group.reason) == (pb.STATUS_ABORTED, "cancelled")
        again = await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id))
        assert again.status == pb.STATUS_ABORTED


async def test_what_cannot_be_recorded_is_done_and_not_acknowledged(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", WAITS))
        async for message in at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id)):
            if "task_started" in (happening.event.WhichOneof("fact") for happening in message.happenings):
                break
        with sqlite3.connect(tmp_path / "state.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody else can write now
            with pytest.raises(grpc.aio.AioRpcError, match="cannot write its state") as caught:
                await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id))
            code, _, retry = refused(caught.value)
            assert (code, retry is not None) == (Code.UNAVAILABLE, True)
            other.execute("ROLLBACK")
        await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id))
        await at.watched(id)
        assert (await at.get(id)).group.status == pb.STATUS_ABORTED


async def test_signals(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", WAITS))

        async def signal(task: str, word: str) -> bool:
            return (await at.stub.SignalTask(pb.SignalTaskRequest(id=id, task=task, signal=word))).delivered

        async for message in at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id), timeout=WAIT_SECONDS):
            for happening in message.happenings:
                match happening.event.WhichOneof("fact"):
                    case "task_started":
                        assert await signal("a", "pause")
                    case "task_paused":
                        assert (await at.get(id)).tasks[0].waiting == "paused"
                        assert await signal("a", "start")
                    case "task_resumed":
                        (tmp_path / "workspaces" / id / "go").touch()
        assert not await signal("a", "pause")
        for task, word, code in (("a", "explode", Code.INVALID_ARGUMENT), ("b", "pause", Code.NOT_FOUND)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await signal(task, word)
            assert caught.value.code() is code


async def test_results_page_by_page(tmp_path: Path) -> None:
    tasks = [command("gate", "false"), *(command(f"t{n}", "true", depends_on=["gate"]) for n in range(2500))]
    async with desk(tmp_path) as at:
        id = await at.submit(*tasks)
        await at.watched(id)
        names: list[str] = []
        token = ""
        while True:
            answer = await at.get(id, page_token=token)
            names += [task.name for task in answer.tasks]
            token = answer.next_page_token
            if not token:
                break
        assert names == [task["name"] for task in tasks]
        assert {count.status: count.tasks for count in answer.group.counts} == {
            pb.STATUS_FAILED: 1,
            pb.STATUS_SKIPPED: 2500,
        }
        some = await at.get(id, tasks=["t7", "gate"])
        assert [(task.name, task.because_of) for task in some.tasks] == [("gate", ""), ("t7", "gate")]
        for wanted, code in ({"tasks": ["t9999"]}, Code.NOT_FOUND), ({"page_token": "x"}, Code.INVALID_ARGUMENT):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await at.get(id, **wanted)
            assert caught.value.code() is code


async def test_groups_are_listed(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        ids = [await at.submit(command("a", "true"), labels={"number": str(number)}) for number in range(5)]
        for id in ids:
            await at.watched(id)
        first = await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(page_size=3))
        rest = await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(page_size=3, page_token=first.next_page_token))
        assert [group.id for group in (*first.groups, *rest.groups)] == ids[::-1]
        assert rest.next_page_token == ""
        assert not first.next_page_token.isdigit()
        for wrong in (
            pb.ListTaskGroupsRequest(page_token="4"),
            pb.ListTaskGroupsRequest(page_token=first.next_page_token, labels={"number": "1"}),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="was not given by this runner") as caught:
                await at.stub.ListTaskGroups(wrong)
            assert caught.value.code() is Code.INVALID_ARGUMENT
        found = await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(labels={"number": "3"}))
        assert [group.id for group in found.groups] == [ids[3]]
        having = await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(labels={"number": ""}))
        assert len(having.groups) == 5
        assert not (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(labels={"size": ""}))).groups
        assert not (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(statuses=[pb.STATUS_FAILED]))).groups


async def test_a_document_that_is_refused(tmp_path: Path) -> None:
    wrong = document({"name": "a", "type": "os_exe", "spec": {}}, {"name": "a", "typ": "x"})
    async with desk(tmp_path) as at:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.stub.SubmitTaskGroup(pb.SubmitTaskGroupRequest(document=wrong, source="w.yaml"))
        code, message, _ = refused(caught.value)
        assert code is Code.INVALID_ARGUMENT
        assert "w.yaml:4:9" in message
        told = await at.stub.ValidateTaskGroup(pb.ValidateTaskGroupRequest(document=wrong, source="w.yaml"))
        assert not told.valid
        assert {fault.path for fault in told.faults} >= {"taskGroup[0].type", "taskGroup[1].typ", "taskGroup[1].name"}
        good = await at.stub.ValidateTaskGroup(pb.ValidateTaskGroupRequest(document=document(PRINTS)))
        assert (good.valid, good.name, good.tasks) == (True, "test", 1)
        assert not (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest())).groups


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"id": "../../etc"}, "id"),
        ({"id": "x~1"}, "id"),
        ({"inputs": {"no": "1"}}, "not declared"),
        ({"labels": {"": "x"}}, "label"),
        ({"labels": {"x": "y" * 20_000}}, "label"),
        ({"labels": {f"x{number}": "" for number in range(20_000)}}, "label"),
        ({"inputs": {f"x{number}": "" for number in range(20_000)}}, "not declared"),
        ({"source": "y" * 20_000}, "source"),
    ],
)
async def test_requests_that_are_refused(tmp_path: Path, more: dict[str, object], word: str) -> None:
    async with desk(tmp_path) as at:
        with pytest.raises(grpc.aio.AioRpcError, match=word) as caught:
            await at.submit(command("a", "true"), **more)  # type: ignore[arg-type]  # a table of them
        assert caught.value.code() is Code.INVALID_ARGUMENT
        assert not (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest())).groups
        assert [path.name for path in (tmp_path / "workspaces").iterdir()] == [".uploads"]


async def test_questions_that_are_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", "true"))
        await at.watched(id)
        questions: list[tuple[Any, Any, str]] = [
            (at.stub.GetTaskGroup, pb.GetTaskGroupRequest(id=id, tasks=["a"] * 1001), "1,000 tasks"),
            (at.stub.ListTaskGroups, pb.ListTaskGroupsRequest(statuses=[99]), "status 99"),  # type: ignore[list-item]  # it is none
            (at.stub.ListTaskGroups, pb.ListTaskGroupsRequest(labels={"x": "y" * 20_000}), "16,384"),
        ]
        for method, request, word in questions:
            with pytest.raises(grpc.aio.AioRpcError, match=word) as caught:
                await method(request)
            assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_only_what_brings_something_is_large(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{guard.USUAL_BYTES:,} bytes") as caught:
            await at.get("x" * guard.USUAL_BYTES)
        assert refused(caught.value)[0] is Code.RESOURCE_EXHAUSTED


async def test_a_piece_of_an_upload_that_cannot_be_read(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        upload: Any = at.channel.stream_unary("/runner.v1.RunnerService/UploadWorkspace")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be read") as caught:
            await upload(iter([b"\xff\xff\xff\x01"]))
        assert caught.value.code() is Code.INVALID_ARGUMENT


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


async def test_what_is_too_large_or_too_much(tmp_path: Path) -> None:
    limits = Limits(message_bytes=100_000, groups=2, streams=3, streams_per_caller=2)
    async with desk(tmp_path, limits=limits) as at:
        with pytest.raises(grpc.aio.AioRpcError, match="100000") as caught:
            await at.stub.SubmitTaskGroup(pb.SubmitTaskGroupRequest(document=b" " * 200_000))
        assert caught.value.code() is Code.RESOURCE_EXHAUSTED
        id = await at.submit(command("a", WAITS))
        await at.submit(command("a", f"cd ../{id}; {WAITS}"))
        with pytest.raises(grpc.aio.AioRpcError, match="2 groups") as caught:
            await at.submit(command("a", "true"))
        code, _, retry = refused(caught.value)
        assert (code, retry is not None) == (Code.RESOURCE_EXHAUSTED, True)
        calls = [at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id)) for _ in range(2)]
        for call in calls:
            await call.read()
        with pytest.raises(grpc.aio.AioRpcError, match="2 watches"):
            await at.watched(id)
        for call in calls:
            call.cancel()
        (tmp_path / "workspaces" / id / "go").touch()
        for _ in range(100):  # the node hears of the cancelled calls when it does
            with suppress(grpc.aio.AioRpcError):
                await at.watched(id)
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the streams were never given back")


async def test_thousands_that_call_at_once_are_all_answered(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", "true"))
        answers = await asyncio.gather(*(at.get(id) for _ in range(3000)))
        assert {answer.group.id for answer in answers} == {id}


async def test_documents_that_wait_fill_no_memory(tmp_path: Path) -> None:
    limits = Limits(document_bytes=300_000, document_bytes_per_caller=200_000)
    large = command("a", f"{WAITS} # {'x' * 90_000}")
    async with desk(tmp_path, limits=limits) as at:
        ids = [await at.submit(large) for _ in range(2)]
        with pytest.raises(grpc.aio.AioRpcError, match="200,000 bytes") as caught:
            await at.submit(large)
        assert refused(caught.value)[0] is Code.RESOURCE_EXHAUSTED
        assert at.serving.node.engine.living.of("local").bytes > 180_000
        for id in ids:
            await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id))
            await at.watched(id)
        assert await at.submit(large)


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


# Files to work on.


def tarred(**files: bytes) -> Iterator[pb.UploadWorkspaceRequest]:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    whole = target.getvalue()
    for start in range(0, len(whole), 100_000):
        yield pb.UploadWorkspaceRequest(data=whole[start : start + 100_000])


async def test_an_upload_becomes_the_workspace(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        answer = await at.stub.UploadWorkspace(tarred(hello=b"x" * 500_000, other=b"y"))
        assert (answer.bytes, answer.entries) == (500_001, 2)
        id = await at.submit(command("a", "wc -c < hello; cat other"), workspace_id=answer.workspace_id)
        await at.watched(id)
        assert b"".join(chunk.data for chunk in await at.read(id, "a")) == b"500000\ny"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.submit(command("a", "true"), workspace_id=answer.workspace_id)
        assert caught.value.code() is Code.NOT_FOUND
        for _ in range(200):
            if [path.name for path in (tmp_path / "workspaces").iterdir()] == [".uploads"]:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the workspace is still there")


async def test_uploads_that_are_refused_leave_nothing(tmp_path: Path) -> None:
    async def cut() -> AsyncIterator[pb.UploadWorkspaceRequest]:
        for request in list(tarred(a=b"x" * 500_000))[:3]:
            yield request

    async with desk(tmp_path, limits=Limits(workspace_bytes=600_000)) as at:
        streams: dict[str, Iterator[pb.UploadWorkspaceRequest] | AsyncIterator[pb.UploadWorkspaceRequest]] = {
            "outside": tarred(**{"../evil": b"x"}),
            "cut off|end of data": cut(),
            "no tar": iter([pb.UploadWorkspaceRequest(data=b"x" * 1000)]),
            "600,000 bytes": tarred(a=b"x" * 700_000),
        }
        for word, stream in streams.items():
            with pytest.raises(grpc.aio.AioRpcError, match=word) as caught:
                await at.stub.UploadWorkspace(stream)
            assert caught.value.code() in (Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
        assert list((tmp_path / "workspaces" / ".uploads").iterdir()) == []


# The node itself.


async def test_what_a_node_tells_of_itself(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        told = await at.stub.DescribeRunner(pb.DescribeRunnerRequest())
        assert (told.name, dict(told.labels), told.capacity, told.caller) == ("n1", {"site": "here"}, 8, "local")
        assert [kind.name for kind in told.types] == ["os_exec", "expression_evaluation"]
        assert all(kind.healthy and "properties" in kind.spec_schema for kind in told.types)
        node_id = told.node_id
    async with desk(tmp_path) as at:
        assert (await at.stub.DescribeRunner(pb.DescribeRunnerRequest())).node_id == node_id


async def test_health_and_reflection(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        health: Any = health_pb2_grpc.HealthStub(at.channel)
        for name in ("", "runner.v1.RunnerService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

        def services() -> set[str]:
            with grpc.insecure_channel(at.serving.server.addresses[0]) as channel:
                return set(ProtoReflectionDescriptorDatabase(channel).get_services())

        assert await asyncio.to_thread(services) >= {"runner.v1.RunnerService", "grpc.health.v1.Health"}
        await at.serving.server.drain(0)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_node_that_leaves_says_so_and_what_runs_goes_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(command("a", f"echo begun; {WAITS}; echo ended"))
        watch = aiter(at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id, output=True), timeout=WAIT_SECONDS))
        while not any(one.HasField("log") for one in (await anext(watch)).happenings):
            pass
        await at.serving.server.drain(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [message async for message in watch]
        code, _, retry = refused(caught.value)
        assert (code, retry is not None) == (Code.UNAVAILABLE, True)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.submit(command("a", "true"))
        assert caught.value.code() is Code.UNAVAILABLE
    (tmp_path / "workspaces" / id / "go").touch()
    async with desk(tmp_path) as at:
        await at.watched(id)
        assert b"".join(chunk.data for chunk in await at.read(id, "a")) == b"begun\nended\n"
        answer = await at.get(id)
        assert (answer.group.status, answer.tasks[0].attempts) == (pb.STATUS_SUCCESS, 1)


async def test_rules_are_told_with_their_place_in_the_document(tmp_path: Path) -> None:
    rules = [Rule(callers=("somebody",), scopes=frozenset(Scope))]
    async with desk(tmp_path, rules=rules) as at:  # `local` may do everything all the same
        assert await at.submit(command("a", "true", spec={"command": "true", "user": "root"}))
