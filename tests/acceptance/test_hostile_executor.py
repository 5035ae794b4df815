"""A node whose peer lies: the peer's own tasks become what it says, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.client.aio import AsyncClient
from runner.model.dispatch import AttemptId, Finished, Started
from runner.model.endpoint import Endpoint
from runner.model.result import Outcome, Status, TaskGroupResult
from runner.model.session import FromExecutor, Reported, Submit
from tests.acceptance.command import group, shell
from tests.acceptance.executors import Part, posing
from tests.acceptance.mortal import Node

pytestmark = pytest.mark.timeout(60)
SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0, finished_at=1.0)
WAIT_SECONDS = 40.0


@asynccontextmanager
async def forwarding(folder: Path, part: Part) -> AsyncIterator[AsyncClient]:
    """A node that forwards to `peer`, which plays this part."""
    async with posing(part) as (_, target):
        config = folder / "runner.toml"
        config.write_text(f'name = "cloud"\n[peers.peer]\ntarget = "{target}"\n')
        node = Node(folder / "state", options=["--config", str(config)])
        await asyncio.to_thread(node.start)
        try:
            async with AsyncClient(Endpoint(target=node.socket)) as client:
                yield client
        finally:
            await asyncio.to_thread(node.remove)


def far(name: str = "far", **more: Any) -> dict[str, Any]:
    return shell(name, "true", forward={"to": "peer"}, **more)


def started(id: AttemptId, at: float = 1.0) -> FromExecutor:
    return Reported(report=Started(id=id, sequence=1, at=at, handle=b""))


def finished(id: AttemptId, sequence: int = 2, outcome: Outcome = SUCCESS) -> FromExecutor:
    return Reported(report=Finished(id=id, sequence=sequence, outcome=outcome))


async def end(client: AsyncClient, id: str) -> TaskGroupResult:
    until = time.monotonic() + WAIT_SECONDS
    while not (result := await client.result(id)).status.terminal:
        assert time.monotonic() < until, result
        await asyncio.sleep(0.02)
    return result


async def test_of_what_there_is_not_and_was_not_given_to_it_nothing_is_heard(tmp_path: Path) -> None:
    async def part(session: int, said: Submit) -> AsyncIterator[FromExecutor]:
        del session
        id = said.dispatch.id
        for other in (AttemptId(id.group, "nobody", 1), AttemptId("none", "far", 1), AttemptId(id.group, id.task, 7)):
            yield started(other)
            yield finished(other)
        while not (tmp_path / "near").exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
        yield finished(AttemptId(id.group, "near", 1), 1000)
        yield started(id)
        yield finished(id)

    async with forwarding(tmp_path, part) as client:
        near = f"touch {tmp_path}/near; read x < {tmp_path}/go; exit 3"

        os.mkfifo(tmp_path / "go")
        group_id = (await client.submit(group([far(), shell("near", near)]))).id
        until = time.monotonic() + WAIT_SECONDS
        while (await client.result(group_id)).results["far"].status is not Status.SUCCESS:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
        assert (await client.result(group_id)).results["near"].status is Status.RUNNING
        (tmp_path / "go").write_text("\n")
        result = await end(client, group_id)
    assert (result.results["near"].status, result.results["near"].exit_code) == (Status.FAILED, 3)


async def test_a_time_that_no_calendar_has_is_refused_and_the_next_session_is_heard(tmp_path: Path) -> None:
    async def part(session: int, said: Submit) -> AsyncIterator[FromExecutor]:
        id = said.dispatch.id
        if session == 1:
            yield started(id, at=1e12)
        else:
            yield started(id)
        yield finished(id)

    async with forwarding(tmp_path, part) as client:
        result = await end(client, (await client.submit(group([far()]))).id)
    assert result.status is Status.SUCCESS
    assert result.results["far"].finished_at == "1970-01-01T00:00:01.000000Z"
