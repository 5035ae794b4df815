"""The gRPC service over a whole node (its socket, its store, its supervisor): what is submitted, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from runner.config.service import Rule, Scope
from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import PRINTS, Code, refused
from tests.rpc import command, desk, document

pytestmark = pytest.mark.timeout(90)


async def test_submissions_are_idempotent(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        request = pb.SubmitTaskGroupRequest(document=document(command("a", "true")), id="g")
        answers = await asyncio.gather(*(at.stub.SubmitTaskGroup(request) for _ in range(10)))
        assert sorted(answer.existed for answer in answers) == [False] + [True] * 9
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.submit(command("a", "false"), id="g")
        assert refused(caught.value)[0] is Code.ALREADY_EXISTS
        assert len((await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest())).groups) == 1


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


async def test_rules_are_told_with_their_place_in_the_document(tmp_path: Path) -> None:
    rules = [Rule(callers=("somebody",), scopes=frozenset(Scope))]
    async with desk(tmp_path, rules=rules) as at:  # `local` may do everything all the same
        assert await at.submit(command("a", "true", spec={"command": "true", "user": "root"}))
