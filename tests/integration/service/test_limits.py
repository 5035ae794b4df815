"""The gRPC service over a whole node (its socket, its store, its supervisor): what is too large or too much."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from runner.config.service import Limits
from runner.rpc import guard
from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import WAITS, Code, refused
from tests.rpc import command, desk

pytestmark = pytest.mark.timeout(90)


async def test_only_what_brings_something_is_large(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{guard.USUAL_BYTES:,} bytes") as caught:
            await at.get("x" * guard.USUAL_BYTES)
        assert refused(caught.value)[0] is Code.RESOURCE_EXHAUSTED


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
