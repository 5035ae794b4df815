"""The gRPC service over a whole node (its socket, its store, its supervisor): cancels and signals."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import grpc
import pytest

from runner.store import database
from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import WAITS, Code, refused
from tests.rpc import WAIT_SECONDS, command, desk

pytestmark = pytest.mark.timeout(90)


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


async def test_what_cannot_be_recorded_is_done_and_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.5)
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
