"""A node that serves removes what is old, while it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest

from runner.config.service import Retention
from runner.v1 import runner_pb2 as pb
from tests.rpc import command, desk

pytestmark = pytest.mark.timeout(90)


async def test_groups_that_are_too_many_go_with_their_logs(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for number in range(5):
            await at.watched(await at.submit(command("a", "echo out"), id=f"g{number}"))
    async with desk(tmp_path, retention=Retention(groups=2)) as at:
        await at.serving.keeper.tidy()
        listed = (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest())).groups
        assert [group.id for group in listed] == ["g4", "g3"]
        assert sorted(os.listdir(tmp_path / "logs")) == ["g3", "g4"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await at.get("g0")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        await at.watched(await at.submit(command("a", "echo again"), id="g0"))
        assert b"".join(chunk.data for chunk in await at.read("g0", "a")) == b"again\n"


async def test_a_log_that_is_being_read_is_read_to_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path, retention=Retention(groups=1)) as at:
        id = await at.submit(command("a", "seq 2000000"), id="old")
        await at.watched(id)
        await at.watched(await at.submit(command("a", "true")))
        call = at.stub.ReadLog(pb.ReadLogRequest(id=id, task="a"))
        size = 0
        async for message in call:
            if not size:
                await at.serving.keeper.tidy()
            size += sum(len(chunk.data) for chunk in message.chunks)
        assert size == len("\n".join(map(str, range(1, 2000001)))) + 1
        await at.serving.keeper.tidy()
        with pytest.raises(grpc.aio.AioRpcError):
            await at.get(id)


async def test_uploads_that_nobody_claims_go(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        old = tmp_path / "workspaces" / ".uploads" / "00.0000"
        old.mkdir()
        os.utime(old, (1, 1))
        (tmp_path / "workspaces" / ".uploads" / "11.0000").mkdir()
        await at.serving.keeper.tidy()
        assert os.listdir(tmp_path / "workspaces" / ".uploads") == ["11.0000"]
