"""The gRPC service over a whole node (its socket, its store, its supervisor): what the node says of itself, and how it leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import WAITS, Code, refused
from tests.rpc import WAIT_SECONDS, command, desk

pytestmark = pytest.mark.timeout(90)


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
