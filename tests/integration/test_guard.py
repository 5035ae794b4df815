"""What stands before every method, on a real server: who may call what, and what becomes of calls that end otherwise."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.config.service import Rule, Scope
from runner.errors import GroupNotFoundError
from runner.rpc import guard
from runner.rpc.policy import METHODS, Need, Policy
from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_pb2_grpc
from tests.guarded import REFUSED, SERVICE, bearer, channel, code_of, describe, methods, serving

ROOT = Path(__file__).parents[2]
EVERYTHING = (Rule(callers=("*",), scopes=frozenset(Scope)),)
OK = grpc.StatusCode.OK
NEVER_ANSWERS = f"/{SERVICE}/CancelTaskGroup"
WATCH = f"/{SERVICE}/WatchTaskGroup"


def documented() -> dict[str, str]:
    """The table of docs/security.md: what every method wants."""
    text = (ROOT / "docs" / "security.md").read_text().split("## Who may call what", 1)[1].split("\n## ", 1)[0]
    table = {}
    for names, need in re.findall(r"^\| (`.*`) \| (.*) \|$", text, re.MULTILINE):
        table.update(dict.fromkeys(re.findall(r"`([A-Za-z]+)`", names), need.split("`")[1] if "`" in need else need))
    return table


def test_the_documented_table_is_the_one_that_holds() -> None:
    words: dict[Scope | Need, str] = {Need.NOTHING: "anybody", Need.IDENTITY: "any caller whom a rule fits"}
    ours = (f"/{SERVICE}/", "/runner.v1.PeerService/")
    held = {path.rsplit("/", 1)[1]: words.get(need, need) for path, need in METHODS.items() if path.startswith(ours)}
    others = {
        path.split("/")[1].rsplit(".", 1)[1]: words.get(need, need)
        for path, need in METHODS.items()
        if not path.startswith(ours)
    }
    assert documented() == {**held, **others}


def expected(path: str, scopes: frozenset[Scope] | None) -> set[grpc.StatusCode]:
    """How a call may end; `scopes` are those that the caller has, None where nobody knows him."""
    need = METHODS[path]
    if need is Need.NOTHING or (scopes is not None and (need is Need.IDENTITY or need in scopes)):
        return {OK} if path.startswith("/runner.v1.") else {OK, grpc.StatusCode.UNIMPLEMENTED}
    return {grpc.StatusCode.UNAUTHENTICATED if scopes is None else grpc.StatusCode.PERMISSION_DENIED}


async def test_every_method_with_every_caller(tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/runner.sock"
    async with serving(tmp_path, listen=["127.0.0.1:0", socket], rules=EVERYTHING) as node:
        callers: list[tuple[str, str | None, frozenset[Scope] | None]] = [
            ("nobody", None, None),
            ("somebody else", "rt_000000000000_" + "0" * 64, None),
            ("all", node.token("ada", scopes=frozenset(Scope)), frozenset(Scope)),
        ]
        callers += [
            (scope, node.token("ada", scopes=frozenset({scope})), frozenset({scope}))
            for scope in (Scope.SUBMIT, Scope.READ, Scope.CANCEL, Scope.REMOVE, Scope.SHELL, Scope.DISPATCH)
        ]
        async with channel(node.addresses[0]) as to, channel(socket) as local:
            for path in methods():
                for who, token, scopes in callers:
                    if path == NEVER_ANSWERS and expected(path, scopes) == {OK}:
                        continue
                    code, message = await code_of(to, path, token)
                    assert code in expected(path, scopes), (path, who, message)
                if path != NEVER_ANSWERS:
                    assert (await code_of(local, path))[0] in expected(path, frozenset(Scope)), path


async def test_nothing_is_done_for_whoever_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, rules=()) as node, channel(node.addresses[0]) as to:
        token = node.token("ada", scopes=frozenset(Scope))
        for path in methods():
            if path.startswith("/runner.v1."):
                assert (await code_of(to, path))[0] is grpc.StatusCode.UNAUTHENTICATED
                code, message = await code_of(to, path, token)
                assert code is grpc.StatusCode.PERMISSION_DENIED
                assert "no rule of this runner fits 'ada'" in message
        assert node.servicer.called == 0


async def test_whoever_is_refused_is_noted_and_no_token_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runner.rpc.guard")
    async with serving(tmp_path, rules=()) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        for given in (token, "rt_000000000000_" + "0" * 64):
            await code_of(to, WATCH, given)
    noted = [vars(record) for record in caplog.records]
    assert [(one["action"], one["method"], one["caller"]) for one in noted] == [
        ("call_refused", WATCH, "ada"),
        ("call_refused", WATCH, None),
    ]
    assert all(one["peer"].startswith("ipv4:127.0.0.1:") for one in noted)
    assert token.split("_")[2] not in str(noted)


async def test_a_method_that_was_forgotten_in_the_table_is_refused_to_everybody(tmp_path: Path) -> None:
    called = []

    async def forgotten(request: Any, context: Any) -> Any:
        called.append(request)
        return b""

    handlers = grpc.method_handlers_generic_handler(
        "runner.v1.New", {"Forgotten": grpc.unary_unary_rpc_method_handler(forgotten)}
    )
    socket = f"unix:{tmp_path}/runner.sock"
    async with (
        serving(tmp_path, listen=["127.0.0.1:0", socket], rules=EVERYTHING, extra=[handlers]) as node,
        channel(node.addresses[0]) as to,
        channel(socket) as local,
    ):
        token = node.token("ada", scopes=frozenset(Scope))
        for asked, metadata in ((to, bearer(token)), (local, ())):
            for path, code in (
                ("/runner.v1.New/Forgotten", grpc.StatusCode.PERMISSION_DENIED),
                ("/runner.v1.New/Nothing", grpc.StatusCode.UNIMPLEMENTED),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asked.unary_unary(path)(b"", metadata=metadata, timeout=20)
                assert caught.value.code() is code
        assert called == []


async def test_everybody_is_himself_also_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        tokens = {f"caller-{number}": node.token(f"caller-{number}") for number in range(20)}
        names = [name for name in tokens for _ in range(10)]
        answers = await asyncio.gather(*(describe(to, tokens[name]) for name in names))
        assert [answer.caller for answer in answers] == names
    with pytest.raises(LookupError):
        guard.caller()


async def test_a_call_that_is_cancelled_is_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        stub: Any = runner_pb2_grpc.RunnerServiceStub(to)
        metadata = bearer(node.token("ada"))
        answer = stub.CancelTaskGroup(pb.CancelTaskGroupRequest(), metadata=metadata, timeout=20)
        await node.servicer.waiting.wait()
        answer.cancel()
        await node.servicer.ended.wait()

        node.servicer.ended.clear()
        stream = stub.WatchTaskGroup(pb.WatchTaskGroupRequest(), metadata=metadata, timeout=20)
        await stream.read()
        stream.cancel()
        await node.servicer.ended.wait()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (GroupNotFoundError(), grpc.StatusCode.NOT_FOUND, "There is no group with this id."),
        (ValueError("a secret"), grpc.StatusCode.INTERNAL, "an error inside the runner"),
    ],
)
async def test_errors_in_the_middle_of_a_stream_are_told_by_the_table(
    tmp_path: Path, error: Exception, code: grpc.StatusCode, says: str
) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        node.servicer.more.put_nowait(None)
        node.servicer.more.put_nowait(error)
        stream = to.unary_stream(WATCH)(b"", metadata=bearer(node.token("ada")), timeout=20)
        for _ in range(2):
            assert await stream.read() is not grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is code
        assert says in (caught.value.details() or "")
        assert "secret" not in (caught.value.details() or "")
        await node.servicer.ended.wait()


async def test_a_stream_ends_when_its_token_is_revoked(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        stream = to.unary_stream(WATCH)(b"", metadata=bearer(token), timeout=20)
        await stream.read()
        node.servicer.more.put_nowait(None)
        await stream.read()
        node.tokens.revoke(token.split("_")[1])
        node.servicer.more.put_nowait(None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await node.servicer.ended.wait()


async def test_a_stream_ends_when_the_rules_that_allowed_it_are_gone(tmp_path: Path) -> None:
    async with serving(tmp_path) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        stream = to.unary_stream(WATCH)(b"", metadata=bearer(token), timeout=20)
        await stream.read()
        node.guard.policy = Policy((Rule(callers=("ada",), scopes=frozenset({Scope.SUBMIT})),))
        node.servicer.more.put_nowait(None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert (await code_of(to, WATCH, token))[0] in REFUSED
        assert list((await describe(to, token)).scopes) == ["submit"]


async def test_between_two_looks_a_stream_is_not_asked_again(tmp_path: Path) -> None:
    async with serving(tmp_path, recheck_seconds=3600.0) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        stream = to.unary_stream(WATCH)(b"", metadata=bearer(token), timeout=20)
        await stream.read()
        node.tokens.revoke(token.split("_")[1])
        node.servicer.more.put_nowait(None)
        assert await stream.read() is not grpc.aio.EOF
        stream.cancel()


@pytest.mark.parametrize("name", ["CancelTaskGroup", "WatchTaskGroup", "SubmitTaskGroup"])
async def test_what_cannot_be_read_is_told_to_whoever_may_call(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path, rules=EVERYTHING) as node, channel(node.addresses[0]) as to:
        token = node.token("ada")
        # An unknown group, less than was announced, and what is no UTF-8 in `source` or, of others, in a field that they do not have.
        for bad in (b"\xff\xff\xff\x01", b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x03\xff\xfe\xfd\x0a"):
            for metadata, code in (
                (bearer(token), grpc.StatusCode.INVALID_ARGUMENT),
                ((), grpc.StatusCode.UNAUTHENTICATED),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await sent(to, f"/{SERVICE}/{name}", bad, metadata)
                assert caught.value.code() is code
                assert "Error" not in str(caught.value.details())
        assert node.servicer.called == 0


async def sent(to: Any, path: str, data: bytes, metadata: Any) -> None:
    """These bytes as a request, whatever they are."""
    if path.endswith("WatchTaskGroup"):
        async for _ in to.unary_stream(path)(data, metadata=metadata, timeout=20):
            pass
    else:
        await to.unary_unary(path)(data, metadata=metadata, timeout=20)
