"""The gRPC service over a whole node (its socket, its store, its supervisor): logs that are read and followed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import WAITS, Code
from tests.rpc import command, desk

pytestmark = pytest.mark.timeout(90)


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
