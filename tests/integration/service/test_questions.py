"""The gRPC service over a whole node (its socket, its store, its supervisor): what is asked about groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import Code
from tests.rpc import command, desk

pytestmark = pytest.mark.timeout(90)


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
