"""Groups that are removed by whoever may, on a node that goes on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import grpc
import pytest

from runner.config.service import Rule, Scope
from runner.v1 import runner_pb2 as pb
from tests.integration.test_callers import Calling, Code, reached, waits
from tests.rpc import Desk, command, desk

pytestmark = pytest.mark.timeout(90)
SECRET = "hunter22-hunter22"
KEEPS = command(
    "keeps",
    f"echo out; echo key={SECRET} >> $OUTPUT_FILE",
    exports=[{"name": "key", "scope": "global", "confidential": True}],
)


async def removed(at: Desk, id: str) -> None:
    await at.stub.RemoveTaskGroup(pb.RemoveTaskGroupRequest(id=id), timeout=30)


async def refused(at: Desk, id: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await removed(at, id)
    return caught.value.code(), caught.value.details() or ""


def rows(state: Path) -> dict[str, int]:
    """How many rows each table has that groups have rows in."""
    connection = sqlite3.connect(f"file:{state / 'state.db'}?mode=ro", uri=True)
    try:
        names = ("groups", "documents", "tasks", "attempts", "events", "removed")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
    finally:
        connection.close()


async def test_nothing_is_left_of_it_and_its_id_is_free(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.watched(await at.submit(KEEPS, id="stays"))
        alone = rows(tmp_path)
        await at.watched(await at.submit(KEEPS, id="goes"))
        await removed(at, "goes")
        assert rows(tmp_path) == alone
        assert os.listdir(tmp_path / "logs") == ["stays"]
        assert "goes" not in os.listdir(tmp_path / "workspaces")
        assert [group.id for group in (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest())).groups] == ["stays"]
        assert (await refused(at, "goes"))[0] is Code.NOT_FOUND
        await at.watched(await at.submit(command("other", "echo again"), id="goes"))
        assert b"".join(chunk.data for chunk in await at.read("goes", "other")) == b"again\n"
    async with desk(tmp_path) as at:
        assert (await at.get("stays")).group.status == pb.STATUS_SUCCESS


async def test_what_runs_or_is_read_stays(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        id = await at.submit(waits(tmp_path))
        code, message = await refused(at, id)
        assert (code, message) == (Code.FAILED_PRECONDITION, "it is not over: `runner cancel` ends it early")
        (tmp_path / "go").touch()
        await at.watched(id)
        reading = at.stub.ReadLog(pb.ReadLogRequest(id=await long(at), task="a"))
        await reading.read()
        code, message = await refused(at, "long")
        assert code is Code.FAILED_PRECONDITION
        assert "somebody watches or reads it" in message
        while await reading.read() is not grpc.aio.EOF:
            pass
        await removed(at, "long")
        await removed(at, id)


async def long(at: Desk) -> str:
    id = await at.submit(command("a", "seq 2000000"), id="long")
    await at.watched(id)
    return id


async def test_what_the_webhook_has_still_to_be_told_of_stays(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.watched(await at.submit(KEEPS, id="told"))
        store = at.serving.node.store
        from runner.store.base import Batch

        store.record(Batch(notices=["told"]))
        code, message = await refused(at, "told")
        assert code is Code.FAILED_PRECONDITION
        assert "the webhook has still to be told of its end" in message
        store.settle("told")
        await removed(at, "told")


async def test_one_removes_what_is_ones_own_and_admin_what_is_anybodys(tmp_path: Path) -> None:
    everything = Rule(callers=("ada", "bob", "ops"), scopes=frozenset(Scope) - {Scope.ADMIN})
    admin = Rule(callers=("ops",), scopes=frozenset({Scope.ADMIN}))
    async with reached(tmp_path, everything, admin) as (_, as_caller):
        ada, bob, ops = as_caller("ada"), as_caller("bob"), as_caller("ops")
        reader = as_caller("ada", scopes=frozenset({Scope.READ, Scope.CANCEL, Scope.ADMIN}))
        for id in ("one", "two"):
            await ada.submit(KEEPS, id=id)
            await ada("WatchTaskGroup", pb.WatchTaskGroupRequest(id=id))
        code, message = await bob.refused("RemoveTaskGroup", pb.RemoveTaskGroupRequest(id="one"))
        assert (code, message) == (Code.NOT_FOUND, "there is no group with the id 'one'")
        assert (await reader.refused("RemoveTaskGroup", pb.RemoveTaskGroupRequest(id="one")))[
            0
        ] is Code.PERMISSION_DENIED
        assert await known(ada) == ["two", "one"]
        await ada("RemoveTaskGroup", pb.RemoveTaskGroupRequest(id="one"))
        (listed,) = (await ops("ListTaskGroups", pb.ListTaskGroupsRequest())).groups
        await ops("RemoveTaskGroup", pb.RemoveTaskGroupRequest(id=listed.id))
        assert await known(ada) == []


async def known(caller: Calling) -> list[str]:
    return [group.id for group in (await caller("ListTaskGroups", pb.ListTaskGroupsRequest())).groups]


async def test_who_is_removed_twice_at_once_is_removed_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.watched(await at.submit(KEEPS, id="g"))
        ends = await asyncio.gather(*(removed(at, "g") for _ in range(5)), return_exceptions=True)
        codes = [
            None if end is None else end.code() for end in ends if end is None or isinstance(end, grpc.aio.AioRpcError)
        ]
        assert sorted(map(str, codes)) == ["None", *["StatusCode.NOT_FOUND"] * 4]
