"""What a node answers to whoever asks for what cannot be: each text as a whole, for people read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from runner.config.service import DEFAULT_RULES, Limits, Rule, Scope
from runner.v1 import runner_pb2 as pb
from tests.integration.test_callers import reached
from tests.rpc import command, desk, document

pytestmark = pytest.mark.timeout(60)

SUBMIT, LIST = "SubmitTaskGroup", "ListTaskGroups"
METHOD = f"/runner.v1.RunnerService/{LIST}"
DOCUMENT = document(command("a", "true"))
SIGNALS = "pause, start, destroy, retry, continue"
REFUSED: list[tuple[str, Any, str]] = [
    (
        SUBMIT,
        pb.SubmitTaskGroupRequest(document=document(command("a", "true"), id="here"), id="there"),
        "the document names the group 'here', and the request 'there': give one of them",
    ),
    (
        SUBMIT,
        pb.SubmitTaskGroupRequest(document=DOCUMENT, labels={"": "x"}),
        "there is a label without a name: give it one, or leave it away",
    ),
    (
        SUBMIT,
        pb.SubmitTaskGroupRequest(document=DOCUMENT, labels={"a": "x" * 70_000}),
        "the labels have more than 16,384 characters together, names and values: leave some away",
    ),
    (
        SUBMIT,
        pb.SubmitTaskGroupRequest(document=DOCUMENT, workspace_id="x" * 1000),
        "`workspace_id` is not one that this runner has given: bring the workspace first",
    ),
    (
        "GetTaskGroup",
        pb.GetTaskGroupRequest(id="g", tasks=["a"] * 20_000),
        "at most 1,000 tasks may be named: ask for the others apart, or for pages",
    ),
    (
        "SignalTask",
        pb.SignalTaskRequest(id="g", task="a", signal="wink"),
        f"there is no signal 'wink'; there are {SIGNALS}",
    ),
    (
        "ReadLog",
        pb.ReadLogRequest(id="g", task="a", offset=3),
        "an `offset` is one of a single `stream`, and goes without a `position`",
    ),
    (
        LIST,
        pb.ListTaskGroupsRequest(statuses=[cast("pb.Status.ValueType", 77)]),
        "there is no status 77; there are 1 to 7",
    ),
    (
        "RerunTaskGroup",
        pb.RerunTaskGroupRequest(id="waits"),
        "the group waits is not over: wait for its end, or cancel it",
    ),
]


async def told(call: Any) -> str:
    """What the node says instead of an answer."""
    try:
        await (call.read() if hasattr(call, "read") else call)
    except grpc.aio.AioRpcError as error:
        return error.details() or ""
    return ""


async def test_requests_that_cannot_be(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.submit(command("a", "true"), id="g")
        await at.watched("g")
        await at.submit(command("a", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"), id="waits")
        heard = [(method, await told(getattr(at.stub, method)(request))) for method, request, _ in REFUSED]
        (tmp_path / "go").touch()
    assert heard == [(method, message) for method, _, message in REFUSED]


async def test_what_is_for_whoever_submitted_it(tmp_path: Path) -> None:
    ops = Rule(callers=("ops",), scopes=frozenset(Scope))
    async with reached(tmp_path, *DEFAULT_RULES, ops) as (_, as_caller):
        ada, admin = as_caller("ada"), as_caller("ops")
        await ada.submit(command("a", "true"), id="g")
        await ada("WatchTaskGroup", pb.WatchTaskGroupRequest(id="g"))
        (listed,) = (await admin(LIST, pb.ListTaskGroupsRequest())).groups
        _, of_outputs = await admin.refused("GetTaskGroup", pb.GetTaskGroupRequest(id=listed.id, reveal=True))
        _, of_again = await admin.refused("RerunTaskGroup", pb.RerunTaskGroupRequest(id=listed.id))
    assert of_outputs == (
        "confidential outputs are shown to whoever submitted the group, 'ada', and to nobody else: ask without them"
    )
    assert of_again == "a group is done again by whoever submitted it, and by nobody else: submit one of your own"


async def test_more_watches_than_there_may_be(tmp_path: Path) -> None:
    async with desk(tmp_path, limits=Limits(streams=1)) as at:
        await at.submit(command("a", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"), id="g")
        first = at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id="g"))
        await first.read()
        second = await told(at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id="g")))
        first.cancel()
        (tmp_path / "go").touch()
    assert second == "this runner serves 1 watches and followed logs at most; try again later"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["Bearer a", "Bearer b"], "there are several `authorization` entries in the call's metadata: give one"),
        (["Basic x"], "the call's `authorization` is of an unknown kind: expected `Bearer rt_…`"),
        (
            ["Bearer x"],
            "the token is malformed: expected `rt_`, an id, `_` and a secret, as `runner token create` has printed it",
        ),
    ],
)
async def test_proofs_that_are_none(tmp_path: Path, given: list[str], message: str) -> None:
    async with desk(tmp_path, listen=["127.0.0.1:0"]) as at:
        metadata = tuple(("authorization", text) for text in given)
        assert await told(at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(), metadata=metadata)) == message


async def test_calls_that_are_none(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:

        async def called(*sent: bytes) -> str:
            async def pieces() -> AsyncIterator[bytes]:
                for piece in sent:
                    yield piece

            call: Any = at.channel.stream_unary(METHOD)
            return await told(call(pieces()))

        assert await called() == f"the call of {METHOD} ended without a request"
        assert await called(b"\xff") == (
            f"the request of {METHOD} cannot be read: expected a message as the runner's protocol has it, and text in UTF-8"
        )
        assert (
            await called(b"x" * 5_000_000)
            == f"a request of {METHOD} may have 4,194,304 bytes at most: ask for less at once"
        )
