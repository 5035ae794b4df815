"""What a node takes of those who have not proved who they are, and how soon it is done with those who cannot any more."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec.structs import replace

from runner.config.service import Rule, Scope
from runner.rpc import intake
from runner.rpc.policy import Policy
from runner.tokens import Tokens
from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_pb2_grpc
from tests.guarded import bearer, channel, describe, serving
from tests.rpc import command, desk, document

pytestmark = pytest.mark.timeout(60)
Code = grpc.StatusCode
WATCH = "/runner.v1.RunnerService/WatchTaskGroup"
LARGE_BYTES = 30_000_000
LOOPBACK = "127.0.0.1:0"


async def ended(call: Any) -> grpc.StatusCode:
    """How the stream ends, whatever it gives before."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK


async def first_code(call: Any) -> grpc.StatusCode:
    """How the stream ends, or OK where it gives something."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    call.cancel()
    return Code.OK


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - as below
        await asyncio.sleep(0.01)  # of what is in another thread, or on a disk, nobody tells


class Wire:
    """Between a client and a node: counts what the client has brought."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self.brought = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, away = await asyncio.open_connection(self._host, self._port)

        async def there_and(back: bool) -> None:
            source, target = (there, writer) if back else (reader, away)
            try:
                while some := await source.read(1 << 16):
                    self.brought += 0 if back else len(some)
                    target.write(some)
                    await target.drain()
            except OSError:
                pass
            finally:
                target.close()

        await asyncio.gather(there_and(False), there_and(True))


@pytest.mark.parametrize("known", [False, True])
async def test_of_a_stranger_no_document_is_read(tmp_path: Path, known: bool) -> None:
    async with serving(tmp_path) as node:
        wire = Wire(node.addresses[0])
        async with wire.open() as address, channel(address) as to:
            stub: Any = runner_pb2_grpc.RunnerServiceStub(to)
            token = node.token("ada", scopes=frozenset({Scope.SUBMIT if known else Scope.READ}))
            request = pb.ValidateTaskGroupRequest(document=b"x" * LARGE_BYTES)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ValidateTaskGroup(request, metadata=bearer(token), timeout=30)
            # This server takes 4 MiB, and says so of one that may call.
            assert caught.value.code() is (Code.RESOURCE_EXHAUSTED if known else Code.PERMISSION_DENIED)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ValidateTaskGroup(request, timeout=30)
            assert caught.value.code() is Code.UNAUTHENTICATED
        # What was under way is what a window of HTTP/2 holds.
        assert wire.brought < LARGE_BYTES
        assert node.servicer.called == 0


@pytest.mark.parametrize(("size", "code"), [((4 << 20) - 100, Code.NOT_FOUND), (4 << 20, Code.RESOURCE_EXHAUSTED)])
async def test_what_a_stranger_asks_has_a_size(tmp_path: Path, size: int, code: Code) -> None:
    """Also of a node that takes larger documents of those whom it knows."""
    async with desk(tmp_path, listen=[LOOPBACK]) as at:
        health: Any = health_pb2_grpc.HealthStub(at.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="x" * size), timeout=30)
        assert caught.value.code() is code


async def test_watches_of_the_health_are_limited(tmp_path: Path) -> None:
    async with desk(tmp_path, listen=[LOOPBACK]) as at:
        health: Any = health_pb2_grpc.HealthStub(at.channel)
        request = health_pb2.HealthCheckRequest()
        watches = [health.Watch(request, timeout=30) for _ in range(intake.WATCHES_OF_ONE_ADDRESS)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="32 watches of its health of one address at once") as caught:
            await health.Watch(request, timeout=30).read()
        assert caught.value.code() is Code.RESOURCE_EXHAUSTED
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        for watch in watches:
            watch.cancel()
        # The node hears of it a moment later.
        while (code := await first_code(health.Watch(request, timeout=30))) is not Code.OK:
            assert code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.5:50312", "10.0.0.5"),
        ("ipv6:[2001:db8:1:2::9]:50312", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2::9%5D:50312", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.5]:50312", "10.0.0.5"),
        ("ipv6:[fe80::1%25eth0]:50312", "fe80::/64"),
        ("unix:", "unix"),
    ],
)
def test_where_a_peer_is(peer: str, address: str) -> None:
    assert intake.address(peer) == address


async def test_a_silent_stream_is_cut_when_its_token_is_revoked(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        stream = to.unary_stream(WATCH)(b"", metadata=bearer(token), timeout=30)
        await stream.read()
        node.tokens.revoke(token.split("_")[1])
        assert await ended(stream) is Code.UNAUTHENTICATED
        await node.servicer.ended.wait()


async def test_a_silent_stream_is_cut_with_the_rules_that_allowed_it(tmp_path: Path) -> None:
    """At once: it is not waited for the next look."""
    async with serving(tmp_path, recheck_seconds=3600.0) as node, channel(node.addresses[0]) as to:
        gone, stays = node.token("ada"), node.token("bob")
        streams = [to.unary_stream(WATCH)(b"", metadata=bearer(token), timeout=30) for token in (gone, stays)]
        for stream in streams:
            await stream.read()
        node.guard.policy = Policy((Rule(callers=("bob",), scopes=frozenset({Scope.READ})),))
        assert await ended(streams[0]) is Code.PERMISSION_DENIED
        node.servicer.more.put_nowait(None)
        assert await streams[1].read() is not grpc.aio.EOF
        streams[1].cancel()


async def test_many_streams_are_cut(tmp_path: Path) -> None:
    """More than are looked at in one turn."""
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        streams = [to.unary_stream(WATCH)(b"", metadata=bearer(token), timeout=30) for _ in range(450)]
        for stream in streams:
            await stream.read()
        node.tokens.revoke(token.split("_")[1])
        assert {await ended(stream) for stream in streams} == {Code.UNAUTHENTICATED}


async def test_who_does_not_read_is_cut_too(tmp_path: Path) -> None:
    async with desk(tmp_path, listen=[LOOPBACK]) as at:
        token = Tokens(tmp_path).create("ada", now=0, lifetime=None)[1]
        metadata = bearer(token)
        request = pb.SubmitTaskGroupRequest(
            document=document(command("a", "head -c 30000000 /dev/zero | tr '\\0' x")), id="g"
        )
        await at.stub.SubmitTaskGroup(request, metadata=metadata)
        stream: Any = at.stub.WatchTaskGroup(
            pb.WatchTaskGroupRequest(id="g", output=True), metadata=metadata, timeout=30
        )
        await stream.read()
        await at.serving.server.drain(30)
        Tokens(tmp_path).revoke(token.split("_")[1])
        await until(lambda: not at.serving.server.streams)


async def test_an_upload_is_cut_when_its_token_is_revoked(tmp_path: Path) -> None:
    async with desk(tmp_path, listen=[LOOPBACK]) as at:
        token = Tokens(tmp_path).create("ada", now=0, lifetime=None)[1]
        upload: Any = at.stub.UploadWorkspace(metadata=bearer(token), timeout=30)
        promised = tarfile.TarInfo("promised")
        promised.size = 1000
        await upload.write(pb.UploadWorkspaceRequest(data=promised.tobuf()))
        uploads = tmp_path / "workspaces" / ".uploads"
        await until(lambda: any(uploads.iterdir()))
        Tokens(tmp_path).revoke(token.split("_")[1])
        assert await upload.code() is Code.UNAUTHENTICATED
        await until(lambda: not any(uploads.iterdir()))


async def unsent(to: Any, method: str, token: str) -> Any:
    """A call of this method, which takes one request, that has come to the node without it."""
    call = to.stream_unary(f"/runner.v1.RunnerService/{method}")(metadata=bearer(token), timeout=30)
    await call.wait_for_connection()
    return call


async def test_a_call_that_was_begun_before_its_token_was_revoked_does_nothing_later(tmp_path: Path) -> None:
    """It has sent all but its request: that is to come when it suits."""
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        calls = [await unsent(to, "SubmitTaskGroup", token) for _ in range(2 * intake.READ_OF_ONE)]
        await to.unary_unary("/runner.v1.RunnerService/ValidateTaskGroup")(b"", metadata=bearer(node.token("bob")))
        called = node.servicer.called
        node.tokens.revoke(token.split("_")[1])
        for call in calls:
            assert await call.code() is Code.UNAUTHENTICATED
        assert node.servicer.called == called


async def test_a_request_that_comes_late_is_judged_by_the_rules_of_then(tmp_path: Path) -> None:
    async with serving(tmp_path, recheck_seconds=3600.0) as node, channel(node.addresses[0]) as to:
        call = await unsent(to, "DescribeRunner", node.token("ada"))
        await to.unary_unary("/runner.v1.RunnerService/ValidateTaskGroup")(b"", metadata=bearer(node.token("bob")))
        every = frozenset({Scope.SUBMIT, Scope.READ, Scope.CANCEL, Scope.ADMIN})
        node.guard.policy = Policy((Rule(callers=("ada",), scopes=every, types=("few",)),))
        await call.write(b"")
        await call.done_writing()
        told = pb.DescribeRunnerResponse.FromString(await call)
        assert set(told.scopes) == {Scope.SUBMIT, Scope.READ, Scope.CANCEL}, "those of the token"
        assert node.servicer.rules == [("few",)]


async def test_who_has_lost_his_rights_keeps_no_place_of_others_of_his_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to, channel(node.addresses[0]) as other:
        stolen, good = node.token("ada"), node.token("ada")
        calls = [await unsent(to, "GetTaskGroup", stolen) for _ in range(intake.READ_OF_ONE)]
        node.tokens.revoke(stolen.split("_")[1])
        assert (await describe(other, good)).caller == "ada"
        assert {await call.code() for call in calls} == {Code.UNAUTHENTICATED}


async def test_requests_that_do_not_come_keep_the_rest_of_their_token_waiting_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their own caller says that they may take half a minute."""
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to, channel(node.addresses[0]) as other:
        token = node.token("ada")
        monkeypatch.setattr(intake, "USUAL_SECONDS", 0.5)
        calls = [await unsent(to, "GetTaskGroup", token) for _ in range(intake.READ_OF_ONE)]
        assert (await describe(other, token)).caller == "ada"
        assert {await call.code() for call in calls} == {Code.RESOURCE_EXHAUSTED}
        assert node.servicer.called == 1


async def test_a_token_that_may_do_little_keeps_no_place_of_others_of_its_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to, channel(node.addresses[0]) as other:
        narrow, wide = node.token("ada", scopes=frozenset({Scope.READ})), node.token("ada")
        calls = [await unsent(to, "GetTaskGroup", narrow) for _ in range(2 * intake.READ_OF_ONE)]
        assert (await describe(other, wide)).caller == "ada"
        assert not any(call.done() for call in calls)
        for call in calls:
            call.cancel()


async def test_documents_on_a_slow_line_keep_nobody_from_cancelling(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to, channel(node.addresses[0]) as other:
        token = node.token("ada")
        calls = [await unsent(to, "SubmitTaskGroup", token) for _ in range(intake.READ_OF_ONE)]
        assert (await describe(other, token)).caller == "ada"
        for call in calls:
            await call.write(b"")
            await call.done_writing()
            await call


async def test_the_request_of_a_watch_is_small_for_it_lasts(tmp_path: Path) -> None:
    """Else a few of them would hold the places of all that their caller wants."""
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        large = pb.WatchTaskGroupRequest(id="g", tasks=["t" * 100] * 3000).SerializeToString()
        streams = [to.unary_stream(WATCH)(large, metadata=bearer(token), timeout=30) for _ in range(intake.READ_OF_ONE)]
        assert {await first_code(stream) for stream in streams} == {Code.RESOURCE_EXHAUSTED}
        assert (await describe(to, token)).caller == "ada"


async def test_a_watch_of_what_others_have_ends_with_the_right_to_it(tmp_path: Path) -> None:
    """The method itself its caller may still call."""
    every = frozenset({Scope.SUBMIT, Scope.READ, Scope.CANCEL, Scope.ADMIN})
    rules = [
        (Rule(callers=("ada",), scopes=every), Rule(callers=("bob",), scopes=every)),
        (Rule(callers=("ada",), scopes=every - {Scope.ADMIN}), Rule(callers=("bob",), scopes=every)),
    ]
    async with desk(tmp_path, listen=[LOOPBACK], rules=rules[0]) as at:
        tokens = {
            name: bearer(Tokens(tmp_path).create(name, now=0, lifetime=None, scopes=every)[1])
            for name in ("ada", "bob")
        }
        submission = pb.SubmitTaskGroupRequest(document=document(command("a", "sleep 100")), id="g")
        await at.stub.SubmitTaskGroup(submission, metadata=tokens["bob"])
        (listed,) = (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(), metadata=tokens["ada"])).groups
        request = pb.WatchTaskGroupRequest(id=listed.id)
        streams: list[Any] = [at.stub.WatchTaskGroup(request, metadata=tokens["ada"], timeout=30)]
        streams.append(at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id="g"), metadata=tokens["bob"], timeout=30))
        for stream in streams:
            await stream.read()
        server = at.serving.server
        server.reload(replace(server.service, rules=rules[1]))
        assert await ended(streams[0]) is Code.UNAVAILABLE
        assert await first_code(at.stub.WatchTaskGroup(request, metadata=tokens["ada"], timeout=30)) is Code.NOT_FOUND
        await at.stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id="g", at_once=True), metadata=tokens["bob"])
        assert await ended(streams[1]) is Code.OK
