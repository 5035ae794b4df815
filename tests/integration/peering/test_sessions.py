"""Sessions with an executor: how they begin, end, and take each other's place, over a real socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from msgspec.structs import replace

from runner.config.service import Limits
from runner.model.dispatch import AttemptId, Finished
from runner.model.result import Status
from runner.model.session import Begin, Cancel, Printed, Reported
from runner.v1 import peer_pb2, runner_pb2
from tests.integration.peering.meeting import met
from tests.peers import ID, submit, talking
from tests.rpc import desk

pytestmark = pytest.mark.timeout(90)
Code = grpc.StatusCode


async def test_the_first_words(tmp_path: Path) -> None:
    async with desk(tmp_path, max_parallel=5) as at, talking(at.channel) as talk:
        hello = await talk.hello()
        assert (hello.name, dict(hello.labels), hello.load.slots) == ("n1", {"site": "here"}, 5)
        assert {"os_exec", "expression_evaluation"} <= hello.types
        described = await at.stub.DescribeRunner(runner_pb2.DescribeRunnerRequest())
        assert hello.node == described.node_id


@pytest.mark.parametrize(
    ("message", "code", "told"),
    [
        (peer_pb2.FromOrigin(), Code.INVALID_ARGUMENT, "it says nothing that is known here"),
        (
            peer_pb2.FromOrigin(release=peer_pb2.ReleaseGroup(group="g")),
            Code.INVALID_ARGUMENT,
            "a session begins with a hello",
        ),
        (
            peer_pb2.FromOrigin(hello=peer_pb2.OriginHello(node="o", name="other", version=1)),
            Code.FAILED_PRECONDITION,
            "this runner speaks version 2 of the protocol between runners, and 'other' version 1",
        ),
        (
            peer_pb2.FromOrigin(hello=peer_pb2.OriginHello(node="", name="other", version=2)),
            Code.INVALID_ARGUMENT,
            "its `node` is empty",
        ),
    ],
)
async def test_who_does_not_say_hello_is_told_what_was_expected(
    tmp_path: Path, message: peer_pb2.FromOrigin, code: Code, told: str
) -> None:
    async with desk(tmp_path) as at, talking(at.channel) as talk:
        await talk.say_raw(message)
        ended, details = await talk.ended()
        assert ended is code
        assert told in details


async def test_what_cannot_be_read_ends_the_session(tmp_path: Path) -> None:
    for said in (
        peer_pb2.FromOrigin(cancel=peer_pb2.CancelAttempt()),
        peer_pb2.FromOrigin(hello=peer_pb2.OriginHello(node="o1", name="o", version=2)),
        peer_pb2.FromOrigin(
            signal=peer_pb2.SignalAttempt(id=peer_pb2.AttemptId(group="g", task="t", attempt=1), signal="explode")
        ),
    ):
        async with met(tmp_path) as (_, talk, _):
            await talk.say_raw(said)
            assert (await talk.ended())[0] is Code.INVALID_ARGUMENT


async def test_what_its_origin_does_not_name_any_more_is_ended_and_told(tmp_path: Path) -> None:
    other = AttemptId("g", "other", 1)
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            for id in (ID, other):
                await talk.say(submit(instance, "exec sleep 60", id=id))
                await talk.started(id)
        async with talking(at.channel) as stranger:
            await stranger.hello(node="o2")  # has none here, and ends none
        async with talking(at.channel) as talk:
            await talk.hello(live=(other,))
            assert (await talk.outcome(ID)).status is Status.ABORTED
            assert talk.told(ID) == ["finished"]
            await talk.say(submit(instance, "exec sleep 60", id=other, after=10_000))
            await talk.say(Cancel(id=other, grace=1.0))
            assert (await talk.finished(other)).sequence == 10_001


async def test_a_new_session_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, talking(at.channel) as first:
        instance = (await first.hello()).instance
        await first.say(submit(instance, "exec sleep 60"))
        await first.started(ID)
        async with talking(at.channel) as other, talking(at.channel) as second:
            await other.hello(node="o2")
            await second.hello(live=(ID,))
            assert (await first.ended())[0] is Code.ABORTED
            await second.say(submit(instance, "exec sleep 60"))
            await second.started(ID)
            await second.say(Cancel(id=ID, grace=1.0))
            assert (await second.outcome(ID)).status is Status.ABORTED
            await other.say(submit(instance, "true"))
            assert (await other.outcome(ID)).status is Status.SUCCESS


async def test_a_node_that_drains_ends_sessions_and_its_guests_go_on(tmp_path: Path) -> None:
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo done"
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script))
            await talk.started(ID)
            await at.serving.server.drain(0)
            assert (await talk.ended())[0] is Code.UNAVAILABLE
        async with talking(at.channel) as talk:
            assert (await talk.ended())[0] is Code.UNAVAILABLE
    (tmp_path / "go").touch()
    async with desk(tmp_path) as at, talking(at.channel) as talk:
        await talk.hello(live=(ID,))
        await talk.say(submit(instance, script))
        assert (await talk.outcome(ID)).status is Status.SUCCESS
        assert talk.printed[ID]["stdout"] == b"done\n"


async def test_one_that_begins_behind_a_newer_one_changes_nothing(tmp_path: Path) -> None:
    """It was given up before it began, and its line brings the rest when nobody counts on it."""
    async with met(tmp_path) as (at, _, instance), talking(at.channel) as late, talking(at.channel) as present:
        await late.hello(begin=False)
        await present.hello()
        await present.say(submit(instance, "echo on; exec sleep 60"))
        await present.started(ID)
        await late.say(Begin())
        assert (await late.ended())[0] is Code.ABORTED
        await present.say(Cancel(id=ID, grace=1.0))
        assert (await present.outcome(ID)).status is Status.ABORTED


async def test_new_labels_are_said_in_a_new_hello(tmp_path: Path) -> None:
    async with met(tmp_path) as (at, talk, _):
        service = at.serving.server.service
        at.serving.server.reload(replace(service, limits=Limits(groups=5)))
        await talk.say(Cancel(id=ID, grace=1.0))
        at.serving.server.reload(replace(service, labels={"site": "there"}))
        assert (await talk.ended())[0] is Code.UNAVAILABLE
        async with talking(at.channel) as again:
            assert (await again.hello()).labels == {"site": "there"}


async def test_an_origin_that_does_not_listen_costs_no_memory(tmp_path: Path) -> None:
    """It is told of a hundred logs, takes none of it for a while, and then all."""
    ids = [AttemptId("g", f"t{number}", 1) for number in range(30)]
    whole = b"".join(b"%d\n" % number for number in range(1, 100_001))
    async with met(tmp_path) as (at, talk, instance):
        for id in ids:
            await talk.say(submit(instance, "seq 100000", id=id))
        (present,) = at.serving.server._peers._sessions.values()
        for id in ids:
            await at.watched(f"{id}@o1")
        kept = sum(len(said.data) for said in (*present._safe, *present._answers) if isinstance(said, Printed))
        assert kept < 8 << 20
        left = set(ids)
        while left:
            said = await talk.next()
            if isinstance(said, Reported) and isinstance(said.report, Finished):
                left.remove(said.report.id)
        assert all(talk.printed[id]["stdout"] == whole for id in ids)


async def test_the_service_is_named_and_healthy(tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with desk(tmp_path) as at:
        stub: Any = health_pb2_grpc.HealthStub(at.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="runner.v1.PeerService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
