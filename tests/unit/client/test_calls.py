"""Calls that fail, and what is tried again; the blocking client, which is the same one."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import os
import socket
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.client import AsyncClient, Client, Endpoint, GroupFilter, Patience, shelling
from runner.client.channel import open_blocking_channel
from runner.client.packing import pack
from runner.client.uploading import Uploads
from runner.errors import (
    DocumentError,
    ForbiddenError,
    GroupExistsError,
    GroupInUseError,
    GroupNotFoundError,
    LimitError,
    NoShellError,
    UnavailableError,
    UnreachableError,
    UsageError,
)
from runner.model.fault import Fault
from runner.model.result import Status
from runner.model.shell import ShellRequest
from runner.rpc.convert import fault_to_proto
from runner.v1 import runner_pb2 as pb
from tests.unit.client.scripted import Cut, Hear, ScriptedNode, Wait, cut_line, serving

PATIENT = Patience(call=60)


async def test_a_submission_is_repeated_with_the_id_that_it_had(tmp_path: Path) -> None:
    node = ScriptedNode(
        [Cut()], [UnavailableError("no", retry_after=0.01)], [pb.SubmitTaskGroupResponse(id="x", existed=True)]
    )
    async with serving(node, tmp_path) as target, AsyncClient(target, patience=PATIENT) as client:
        done = await client.submit("document", source="a.yaml", inputs={"a": "b"}, labels={"k": "v"}, workspace_id="w")
    assert (done.id, done.existed) == ("x", True)
    first, second, third = node.asked
    assert first == second == third
    assert (first.id, first.source, dict(first.inputs), dict(first.labels)) == ("", "a.yaml", {"a": "b"}, {"k": "v"})
    assert first.document == b"document"
    assert len(first.spare_id) == 16


async def test_a_node_without_shells_is_told_as_one(tmp_path: Path) -> None:
    class Older(ScriptedNode):
        async def Shell(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802 - the protocol calls it so
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            yield

    async with serving(Older(), tmp_path) as target, AsyncClient(target, patience=PATIENT) as client:
        with pytest.raises(NoShellError) as caught:
            async with shelling.opened(client, "g", ShellRequest(task="t")):
                pass
    assert caught.value.message == "that runner is older than this one, and has no shells"


async def test_a_group_is_removed_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    node = ScriptedNode(
        [Cut()], [GroupNotFoundError("gone")], [GroupNotFoundError("gone")], [GroupInUseError("it runs")]
    )
    async with serving(node, tmp_path) as target, AsyncClient(target, patience=PATIENT) as client:
        await client.remove("g")  # it was gone when the line broke
        with pytest.raises(GroupNotFoundError, match="gone"):
            await client.remove("g")
        with pytest.raises(GroupInUseError, match="it runs"):
            await client.remove("g")


async def test_what_the_node_says_for_good_is_not_repeated(tmp_path: Path) -> None:
    node = ScriptedNode([GroupExistsError("taken")])
    async with serving(node, tmp_path) as target, AsyncClient(target) as client:
        with pytest.raises(GroupExistsError, match="taken"):
            await client.submit("document", id="mine")
    assert node.asked[0].id == "mine"


async def test_faults_that_had_no_room_in_the_error_are_asked_for(tmp_path: Path) -> None:
    faults = tuple(Fault(path=("a", number), message="wrong" * 50) for number in range(100))
    told = pb.ValidateTaskGroupResponse(faults=map(fault_to_proto, faults))
    node = ScriptedNode([DocumentError(faults)], [told])
    async with serving(node, tmp_path) as target, AsyncClient(target) as client:
        with pytest.raises(DocumentError) as caught:
            await client.submit("document")
    assert caught.value.faults == faults


async def test_a_signal_is_sent_once(tmp_path: Path) -> None:
    node = ScriptedNode([Cut()])
    async with serving(node, tmp_path) as target, AsyncClient(target, patience=PATIENT) as client:
        with pytest.raises(UnreachableError):
            await client.signal("g", "t", "destroy")
    assert len(node.asked) == 1


async def test_pages_are_put_together(tmp_path: Path) -> None:
    def page(name: str, after: str) -> pb.GetTaskGroupResponse:
        task = pb.TaskResult(id=f"g/{name}", name=name, status=pb.STATUS_SUCCESS)
        group = pb.TaskGroup(id="g", status=pb.STATUS_SUCCESS)
        return pb.GetTaskGroupResponse(group=group, tasks=[task], next_page_token=after)

    groups = [pb.TaskGroup(id=id, status=pb.STATUS_FAILED) for id in "ab"]
    node = ScriptedNode(
        [page("one", "1")],
        [page("two", "")],
        [page("one", "1")],
        [pb.ListTaskGroupsResponse(groups=groups[:1], next_page_token="7")],
        [pb.ListTaskGroupsResponse(groups=groups[1:])],
    )
    async with serving(node, tmp_path) as target, AsyncClient(target) as client:
        assert list((await client.result("g", reveal=True)).results) == ["one", "two"]
        assert list((await client.result("g", limit=1)).results) == ["one"]
        wanted = GroupFilter(statuses=frozenset({Status.FAILED}), labels={"a": ""}, accepted_from=5.0)
        assert [summary.id async for summary in client.list(wanted)] == ["a", "b"]
    assert [request.page_token for request in node.asked] == ["", "1", "", "", "7"]
    assert node.asked[0].reveal
    assert (list(node.asked[4].statuses), dict(node.asked[4].labels)) == ([pb.STATUS_FAILED], {"a": ""})
    assert node.asked[4].accepted_from.seconds == 5


@pytest.mark.parametrize(
    "endpoint",
    [Endpoint(target="build:8443", token_file="/dev/zero"), Endpoint(target="build:8443", ca="/dev/zero")],
    ids=["token", "ca"],
)
async def test_a_file_without_end_is_none(endpoint: Endpoint) -> None:
    with pytest.raises(UsageError, match="/dev/zero has more than 16,777,216 bytes"):
        async with AsyncClient(endpoint) as client:
            await client.result("g")


async def test_a_token_goes_with_every_call_and_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("rt_one\n")
    empty = pb.ListTaskGroupsResponse()
    node = ScriptedNode([empty], [empty])
    async with serving(node, tmp_path) as target:
        endpoint = Endpoint(target=target, token_file=str(file))
        async with AsyncClient(endpoint) as client:
            assert [one async for one in client.list()] == []
            file.write_text("rt_two")
            assert [one async for one in client.list()] == []
            file.write_text("two words\n")
            with pytest.raises(UsageError, match="is none: expected one line"):
                await client.result("g")
            file.unlink()
            with pytest.raises(UsageError, match="cannot be read: No such file"):
                await client.result("g")
    assert [metadata["authorization"] for metadata in node.metadata] == ["Bearer rt_one", "Bearer rt_two"]


def entries(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


async def test_a_workspace_is_sent_and_sent_again_from_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "big").write_bytes(os.urandom(700_000))
    answer = pb.UploadWorkspaceResponse(workspace_id="w", bytes=700_000, entries=1)
    node = ScriptedNode([Cut()], [answer])
    async with serving(node, tmp_path) as target, AsyncClient(target, patience=PATIENT) as client:
        upload = await client.upload_workspace(folder)
        assert (upload.workspace_id, upload.bytes, upload.entries) == ("w", 700_000, 1)
        assert entries(node.received)["big"].size == 700_000
        with pytest.raises(UsageError, match="is not a folder"):
            await client.upload_workspace(tmp_path / "none")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder of which gRPC cannot send all before there is an answer."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "big").write_bytes(bytes(20 << 20))
    return folder


async def test_what_a_node_says_of_an_upload_before_it_has_all_of_it_is_told(tmp_path: Path, large: Path) -> None:
    node = ScriptedNode(*([Hear(), LimitError("too much", limit=7)] for _ in range(30)))
    async with serving(node, tmp_path) as target, AsyncClient(target) as client:
        for _ in range(30):
            with pytest.raises(LimitError, match="too much") as caught:
                await client.upload_workspace(large)
            assert caught.value.limit == 7


async def test_an_upload_is_sent_again_when_its_line_breaks(tmp_path: Path, large: Path) -> None:
    answer = pb.UploadWorkspaceResponse(workspace_id="w")
    node = ScriptedNode(*([answer] for _ in range(6)))  # to it what was cut off may look like an end
    async with (
        serving(node, tmp_path) as there,
        cut_line(there, tmp_path, behind=2_000_000, times=5) as target,
        AsyncClient(target, patience=PATIENT) as client,
    ):
        assert (await client.upload_workspace(large)).workspace_id == "w"
        assert entries(node.received)["big"].size == 20 << 20


async def test_what_cannot_be_read_any_more_ends_an_upload(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(1000)
        raise UsageError("it became shorter")

    node = ScriptedNode([pb.UploadWorkspaceResponse(workspace_id="w")])
    async with serving(node, tmp_path) as target:
        with (
            open_blocking_channel(Endpoint(target=target), 45) as channel,
            pytest.raises(UsageError, match="it became shorter"),
        ):
            await Uploads().send(channel, pieces(), ())
    assert caplog.text == ""  # gRPC would tell of it with a traceback


async def test_a_client_that_is_closed_ends_its_uploads(tmp_path: Path, large: Path) -> None:
    node = ScriptedNode([Hear(), Wait()])
    async with serving(node, tmp_path) as target:
        client = AsyncClient(target)
        upload = asyncio.create_task(client.upload_workspace(large))
        await node.has_heard.wait()
        await client.close()
        with pytest.raises(UnreachableError, match=r"^the client was closed meanwhile$"):
            await upload
        with pytest.raises(UsageError, match=r"^this client is closed: make another one$"):
            await client.upload_workspace(large)


def test_what_is_packed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "run").write_text("x" * 1000)
    (deep / "run").chmod(0o4750)
    (tmp_path / "a").chmod(0o700)
    (deep / "up").symlink_to("../../z")
    (deep / "out").symlink_to("../../../z")
    (deep / "root").symlink_to("/bin/sh")
    (tmp_path / "ü\udcff").touch()
    for name in ("left.o", "build", "src/build"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.sock"))
        with caplog.at_level(logging.WARNING):
            found = entries(b"".join(pack(tmp_path, ["*.o", "src/build", "/nothing"])))
    assert sorted(found) == ["a", "a/b", "a/b/run", "a/b/up", "build", "src", "ü\udcff"]
    assert (found["a"].mode, found["a/b/run"].mode, found["a/b/run"].size) == (0o700, 0o750, 1000)
    assert (found["a/b/run"].uid, found["a/b/run"].uname) == (0, "")
    assert found["a/b/up"].linkname == "../../z"
    assert sorted(message.split(" ")[0].rpartition("/")[2] for message in caplog.messages) == ["out", "root", "s.sock"]
    everything = entries(b"".join(pack(tmp_path, ["src"])))
    assert "src" not in everything
    assert "left.o" in everything


def test_a_file_that_shrinks_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    pieces = pack(tmp_path)
    next(pieces)
    os.truncate(tmp_path / "a", 10)
    with pytest.raises(UsageError, match="became shorter"):
        list(pieces)


def test_the_blocking_client_is_the_same_one() -> None:
    for name, method in inspect.getmembers(AsyncClient, inspect.isfunction):
        if not name.startswith("_") and name != "close":
            blocking = getattr(Client, name)
            assert inspect.signature(blocking) == inspect.signature(method)
            assert blocking.__doc__ == method.__doc__
            assert blocking.__doc__


@contextmanager
def in_thread(node: ScriptedNode, folder: Path) -> Iterator[str]:
    """The node on a loop of its own, for clients that block."""
    started: Any = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        async with serving(node, folder):
            stop.append(lambda: loop.call_soon_threadsafe(asked.set))
            started.set()
            await asked.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield f"unix:{folder}/node.sock"
    finally:
        stop[0]()
        thread.join()


def test_a_blocking_client_calls_iterates_and_raises(tmp_path: Path) -> None:
    groups = [pb.TaskGroup(id=id, status=pb.STATUS_FAILED) for id in "ab"]
    node = ScriptedNode(
        [pb.CancelTaskGroupResponse(status=pb.STATUS_RUNNING)],
        [pb.ListTaskGroupsResponse(groups=groups)],
        [pb.ListTaskGroupsResponse(groups=groups)],
        [ForbiddenError("no")],
    )
    with in_thread(node, tmp_path) as target, Client(target) as client:
        assert client.cancel("g", at_once=True) is Status.RUNNING
        assert [summary.id for summary in client.list()] == ["a", "b"]
        for summary in client.list():
            assert summary.id == "a"
            break  # whoever does not read on may leave
        with pytest.raises(ForbiddenError, match="no"):
            client.cancel("g")
        client.close()
        with pytest.raises(UsageError, match="closed"):
            client.cancel("g")


def test_a_blocking_client_that_nobody_closes_ends_its_thread(tmp_path: Path) -> None:
    node = ScriptedNode([pb.CancelTaskGroupResponse(status=pb.STATUS_RUNNING)])
    with in_thread(node, tmp_path) as target:
        client = Client(target)
        client.cancel("g")
        del client
        assert "runner-client" not in {thread.name for thread in threading.enumerate()}
