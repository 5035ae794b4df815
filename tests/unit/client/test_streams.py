"""Streams that break, against a node that breaks them on purpose: nothing is lost and nothing comes twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.client import AsyncClient, LogChunk, Patience
from runner.errors import (
    ForbiddenError,
    GroupNotFoundError,
    LimitError,
    RunnerError,
    UnavailableError,
    UnreachableError,
    UsageError,
)
from runner.model.event import Event, Kind
from runner.model.log import Frame
from runner.rpc import convert
from runner.rpc.events import event_to_proto
from runner.v1 import runner_pb2 as pb
from tests.unit.client.scripted import Cut, ScriptedNode, Wait, serving

SHORT = Patience(call=0.0, stream=60.0)
ENDED = {"status": "success", "exit_code": 0}


def event(number: int, kind: Kind, task: str | None = None, attempt: int | None = None, **fields: Any) -> Event:
    return Event(group="g", number=number, at=1.5, kind=kind, task=task, attempt=attempt, fields=fields)


def chunk(task: str, position: int, data: bytes, attempt: int = 1) -> LogChunk:
    frame = Frame(stream="stdout", offset=position - len(data), data=data, at=2.5, position=position)
    return LogChunk(task=task, attempt=attempt, frame=frame)


def on_wire(*happenings: Event | LogChunk) -> pb.WatchTaskGroupResponse:
    message = pb.WatchTaskGroupResponse()
    for happening in happenings:
        if isinstance(happening, Event):
            message.happenings.add().event.CopyFrom(event_to_proto(happening))
        else:
            log = convert.frame_to_proto(happening.frame, happening.task, happening.attempt)
            message.happenings.add().log.CopyFrom(log)
    return message


ACCEPTED = event(1, Kind.GROUP_ACCEPTED, name="x", caller="me")
STARTED = event(2, Kind.TASK_STARTED, "t", 1)
ONE, TWO, THREE = chunk("t", 10, b"one"), chunk("t", 20, b"two"), chunk("t", 30, b"three")
FINISHED = event(3, Kind.TASK_FINISHED, "t", 1, **ENDED)
OVER = event(4, Kind.GROUP_FINISHED, status="success")


async def watched(node: ScriptedNode, folder: Path, patience: Patience = SHORT) -> list[Any]:
    async with serving(node, folder) as target, AsyncClient(target, patience=patience) as client:
        return [happening async for happening in client.watch("g")]


async def test_a_watch_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    node = ScriptedNode(
        [on_wire(ACCEPTED, STARTED, ONE), Cut()],
        [on_wire(TWO), UnavailableError("it ends", retry_after=0.01)],
        [on_wire(THREE, FINISHED), Cut()],
        [on_wire(OVER)],
    )
    assert await watched(node, tmp_path) == [ACCEPTED, STARTED, ONE, TWO, THREE, FINISHED, OVER]
    told = [
        (request.after_event, [(item.task, item.attempt, item.position) for item in request.positions])
        for request in node.asked
    ]
    assert told == [(0, []), (2, [("t", 1, 10)]), (2, [("t", 1, 20)]), (3, [])]
    assert all(request.output for request in node.asked)


async def test_of_a_failure_that_is_held_it_is_known_how_far_its_log_has_come(tmp_path: Path) -> None:
    held = event(3, Kind.TASK_HELD, "t", 1, status="failed", exit_code=7)
    finished = event(4, Kind.TASK_FINISHED, "t", 1, status="failed", exit_code=7)
    over = event(5, Kind.GROUP_FINISHED, status="failed")
    node = ScriptedNode([on_wire(ACCEPTED, STARTED, ONE, held), Cut()], [on_wire(finished, over)])
    assert await watched(node, tmp_path) == [ACCEPTED, STARTED, ONE, held, finished, over]
    assert [item.position for item in node.asked[1].positions] == [10]


async def test_what_comes_twice_is_given_once(tmp_path: Path) -> None:
    node = ScriptedNode([on_wire(ACCEPTED, STARTED, ONE, TWO), Cut()], [on_wire(STARTED, TWO, THREE, FINISHED, OVER)])
    assert await watched(node, tmp_path) == [ACCEPTED, STARTED, ONE, TWO, THREE, FINISHED, OVER]


async def test_an_event_of_a_kind_that_is_not_known_is_passed_over_and_counted(tmp_path: Path) -> None:
    unknown = pb.WatchTaskGroupResponse(happenings=[pb.Happening(event=pb.Event(number=2))])
    node = ScriptedNode([on_wire(ACCEPTED), unknown, Cut()], [on_wire(FINISHED, OVER)])
    assert await watched(node, tmp_path) == [ACCEPTED, FINISHED, OVER]
    assert node.asked[1].after_event == 2


async def test_a_stream_that_the_node_ends_is_over(tmp_path: Path) -> None:
    assert await watched(ScriptedNode([on_wire(ACCEPTED)]), tmp_path) == [ACCEPTED]


@pytest.mark.parametrize("error", [GroupNotFoundError("gone"), ForbiddenError("no"), LimitError("too many", limit=3)])
async def test_what_time_does_not_heal_ends_it(tmp_path: Path, error: RunnerError) -> None:
    node = ScriptedNode([on_wire(ACCEPTED), error])
    async with serving(node, tmp_path) as target, AsyncClient(target) as client:
        watch = client.watch("g")
        assert await anext(watch) == ACCEPTED
        with pytest.raises(type(error), match=error.message):
            await anext(watch)


async def test_without_patience_it_ends_as_well(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        await watched(ScriptedNode([on_wire(ACCEPTED), Cut()]), tmp_path, Patience(call=60, stream=0))


async def test_a_full_node_is_waited_for_as_long_as_it_says(tmp_path: Path) -> None:
    node = ScriptedNode([LimitError("3 streams", limit=3, retry_after=0.01)], [on_wire(OVER)])
    waits: list[tuple[str, float]] = []
    async with serving(node, tmp_path) as target:
        client = AsyncClient(target, on_wait=lambda error, seconds: waits.append((error.message, seconds)))
        async with client:
            assert [happening async for happening in client.watch("g")] == [OVER]
    ((message, seconds),) = waits
    assert message == "3 streams"
    assert seconds > 0.01


async def test_a_client_that_is_closed_goes_on_with_nothing(tmp_path: Path) -> None:
    node = ScriptedNode([on_wire(ACCEPTED), Wait()])
    async with serving(node, tmp_path) as target:
        client = AsyncClient(target)
        watch = client.watch("g")
        assert await anext(watch) == ACCEPTED
        await client.close()
        with pytest.raises(UnreachableError, match="was closed"):
            await anext(watch)
        with pytest.raises(UsageError, match="closed"):
            await client.result("g")


def pieces(*chunks: LogChunk) -> pb.ReadLogResponse:
    return pb.ReadLogResponse(chunks=[convert.frame_to_proto(one.frame, one.task, one.attempt) for one in chunks])


async def test_a_log_goes_on_where_it_was_cut_with_the_attempt_that_it_began_with(tmp_path: Path) -> None:
    one, two = chunk("t", 10, b"one", attempt=3), chunk("t", 20, b"two", attempt=3)
    node = ScriptedNode([pieces(one), Cut()], [pieces(two)])
    async with serving(node, tmp_path) as target, AsyncClient(target, patience=SHORT) as client:
        log = client.logs("g", "t", stream="stdout", offset=5, follow=True)
        assert [piece async for piece in log] == [one, two]
    first, second = node.asked
    assert (first.attempt, first.offset, first.position, first.follow) == (0, 5, 0, True)
    assert (second.attempt, second.offset, second.position, second.follow) == (3, 0, 10, True)


async def test_events_so_far_end_at_the_last_one(tmp_path: Path) -> None:
    group = pb.GetTaskGroupResponse(group=pb.TaskGroup(id="g", last_event=2, status=pb.STATUS_RUNNING))
    node = ScriptedNode([group], [on_wire(ACCEPTED, STARTED, FINISHED), on_wire(OVER)])
    async with serving(node, tmp_path) as target, AsyncClient(target) as client:
        assert [batch async for batch in client.events("g")] == [[ACCEPTED, STARTED]]
    assert not node.asked[1].output
