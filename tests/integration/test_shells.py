"""Shells on a node: who may have one, what it is told, and that it ends whatever its caller does."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from runner.config.service import DEFAULT_SCOPES, Limits, Retention, Rule, Scope
from runner.tokens import Tokens
from runner.v1 import runner_pb2 as pb
from runner.v1.peer_pb2_grpc import PeerServiceStub
from tests.integration.shelling import Talk, gone, pids_of, refused, start, until_running, waiting
from tests.integration.test_callers import Calling, Code, reached, waits
from tests.rpc import Desk, command, desk

pytestmark = pytest.mark.timeout(90)
TOKEN = "correct horse battery"
MAY = Rule(callers=("ada", "bob"), scopes=DEFAULT_SCOPES | {Scope.SHELL})
REVEALS = Rule(callers=("eve",), scopes=DEFAULT_SCOPES | {Scope.SHELL, Scope.REVEAL})
OPS = Rule(callers=("ops",), scopes=frozenset({Scope.SHELL, Scope.ADMIN, Scope.READ}))
NOT = Rule(callers=("dan",), scopes=DEFAULT_SCOPES)


async def test_what_is_typed_and_printed_and_how_it_ends(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        talk = await Talk(at.stub).begin(start("g", "waits", "sh", "-c", "read x; echo out $x; echo err >&2; exit 7"))
        await talk.type(b"typed\n")
        assert (await talk.end()).exit_code == 7
        assert sorted(talk.said.splitlines()) == [b"err", b"out typed"]
        absent = await Talk(at.stub).begin(start("g", "waits", "no-such-program"))
        assert absent.ended is not None
        assert (absent.ended.exit_code, absent.ended.error[:37]) == (127, "'no-such-program' was not found in PA")
        size = pb.TerminalSize(rows=12, columns=34)
        talk = await Talk(at.stub).begin(start("g", size=size, term="vt220"))
        await talk.type(b"stty size; echo $TERM; exit 3\n")
        assert (await talk.end()).exit_code == 3
        assert b"12 34\r\n" in talk.said
        assert b"vt220\r\n" in talk.said
        assert (await at.get("g")).group.status == pb.STATUS_RUNNING


@pytest.mark.parametrize("hostile", ["x\n", "../../etc", "-v", "é", "a" * 65])
async def test_a_kind_of_terminal_is_a_word_or_none(tmp_path: Path, hostile: str) -> None:
    async with waiting(tmp_path) as at:
        size = pb.TerminalSize(rows=12, columns=34)
        talk = await Talk(at.stub).begin(start("g", "waits", "sh", "-c", "echo =$TERM=", size=size, term=hostile))
        await talk.end()
        assert talk.said == b"=dumb=\r\n"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.ShellRequest(input=b"x"), "begins with a request that says where"),
        (pb.ShellRequest(), "begins with a request that says where"),
        (start("g", size=pb.TerminalSize(rows=0, columns=80)), "a terminal has 1 to 9,999 rows"),
        (start("g", size=pb.TerminalSize(rows=10_000, columns=80)), "a terminal has 1 to 9,999 rows"),
        (start("g", "waits", ""), "a command names a program"),
        (start("g", "waits", "a\0b"), "a command names a program"),
        (start("g", "waits", *["x"] * 1001), "a command has 1,000 words and 100,000 bytes at most"),
    ],
)
async def test_nonsense_is_refused(tmp_path: Path, request_: pb.ShellRequest, words: str) -> None:
    async with waiting(tmp_path) as at:
        code, said = await refused(at.stub, request_)
        assert code is Code.INVALID_ARGUMENT
        assert words in said


async def test_nonsense_in_the_middle_ends_it(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        talk = await Talk(at.stub).begin(start("g"))
        await talk.call.write(start("g"))
        assert (await talk.end()).cut == "a shell is not begun twice"
        talk = await Talk(at.stub).begin(start("g"))
        await talk.call.write(pb.ShellRequest(input=b"x" * 65_537))
        assert (await talk.end()).cut == "at most 65,536 bytes may be typed at once"


# Who may.


async def test_nobody_may_by_default(tmp_path: Path) -> None:
    async with reached(tmp_path) as (at, as_caller):
        ada = as_caller("ada")
        await ada.submit(waits(tmp_path))
        for _ in range(500):  # also who writes into a call that is being refused is told why
            code, said = await refused(at.stub, start("g"), metadata_of(ada))
            assert code is Code.PERMISSION_DENIED
            assert said == "this needs the scope `shell`, which no rule of this runner gives to 'ada'"


async def test_a_caller_sees_his_own_groups_alone(tmp_path: Path) -> None:
    async with reached(tmp_path, MAY, OPS) as (at, as_caller):
        ada, bob, ops = as_caller("ada"), as_caller("bob"), as_caller("ops")
        await ada.submit(waits(tmp_path), id="of-ada")
        code, said = await refused(at.stub, start("of-ada"), metadata_of(bob))
        assert code is Code.NOT_FOUND
        assert (code, said.replace("of-ada", "of-none")) == await refused(at.stub, start("of-none"), metadata_of(bob))
        await until_touched(at, ada, "of-ada")
        talk = await Talk(at.stub, metadata_of(ada)).begin(start("of-ada", "waits", "true"))
        assert (await talk.end()).exit_code == 0
        (listed,) = (await ops("ListTaskGroups", pb.ListTaskGroupsRequest())).groups
        talk = await Talk(at.stub, metadata_of(ops)).begin(start(listed.id, "waits", "true"))
        assert (await talk.end()).exit_code == 0


async def test_what_is_confidential_takes_a_scope_of_its_own(tmp_path: Path) -> None:
    task = waits(tmp_path)
    task["spec"] = {**task["spec"], "envs": {"TOKEN": "{{ .inputs.token }}", "OPEN": "yes"}}
    document = {"name": "g", "inputs": {"token": {"confidential": True, "required": True}}, "taskGroup": [task]}
    async with reached(tmp_path, MAY, REVEALS) as (at, as_caller):
        for name in ("ada", "eve"):
            caller = as_caller(name)
            request = pb.SubmitTaskGroupRequest(
                document=yaml.safe_dump(document).encode(), id="g", inputs={"token": TOKEN}
            )
            await caller("SubmitTaskGroup", request)
            await until_touched(at, caller, "g")
            talk = await Talk(at.stub, metadata_of(caller)).begin(start("g", "waits", "env"))
            await talk.end()
            assert talk.withheld == ["TOKEN"]
            assert b"OPEN=yes" in talk.said
            assert TOKEN.encode() not in talk.said
            asked = start("g", "waits", "env", secrets=True)
            if name == "ada":
                code, said = await refused(at.stub, asked, metadata_of(caller))
                assert code is Code.PERMISSION_DENIED
                assert said.startswith("this needs the scope `reveal`, which 'ada' does not have here")
            else:
                talk = await Talk(at.stub, metadata_of(caller)).begin(asked)
                await talk.end()
                assert f"TOKEN={TOKEN}".encode() in talk.said


async def test_the_rule_that_gives_shells_has_to_cover_the_task(tmp_path: Path) -> None:
    submits = Rule(callers=("ada",), scopes=DEFAULT_SCOPES)
    shells = Rule(callers=("ada",), scopes=frozenset({Scope.SHELL}), types=("expression_*",))
    async with reached(tmp_path, submits, shells) as (at, as_caller):
        ada = as_caller("ada")
        await ada.submit(waits(tmp_path))
        await until_touched(at, ada, "g")
        code, said = await refused(at.stub, start("g"), metadata_of(ada))
        assert code is Code.PERMISSION_DENIED
        assert "no rule that gives 'ada' the scope `shell` covers this task" in said


async def test_who_loses_the_right_loses_the_shell(tmp_path: Path) -> None:
    async with reached(tmp_path, MAY) as (at, as_caller):
        ada = as_caller("ada")
        await ada.submit(waits(tmp_path))
        await until_touched(at, ada, "g")
        talk = await Talk(at.stub, metadata_of(ada)).begin(start("g"))
        pids = await pids_of(talk)
        (use,) = Tokens(tmp_path).all()
        Tokens(tmp_path).revoke(use.token.id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await talk.end()
        assert caught.value.code() is Code.UNAUTHENTICATED
        await gone(*pids)


def metadata_of(caller: Calling) -> tuple[tuple[str, str], ...]:
    return caller._metadata


async def until_touched(at: Desk, caller: Calling, id: str) -> None:
    """Until its task runs."""
    while (await caller("GetTaskGroup", pb.GetTaskGroupRequest(id=id))).tasks[0].status != pb.STATUS_RUNNING:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


# How many, and for how long.


async def test_so_many_at_once_and_no_more(tmp_path: Path) -> None:
    async with waiting(tmp_path, limits=Limits(shells=2)) as at:
        talks = [await Talk(at.stub).begin(start("g")) for _ in range(2)]
        code, said = await refused(at.stub, start("g"))
        assert code is Code.RESOURCE_EXHAUSTED
        assert said.startswith("this runner has 2 shells at once at most (`limits.shells`)")
        await talks[0].type(b"exit\n")
        await talks[0].end()
        while True:  # the place is free when the end is done, a moment after it is told
            with suppress(grpc.aio.AioRpcError):
                again = await Talk(at.stub).begin(start("g"))
                break
        for talk in (talks[1], again):
            await talk.type(b"exit\n")
            await talk.end()


async def test_one_in_which_nothing_is_said_is_ended(tmp_path: Path) -> None:
    async with waiting(tmp_path, limits=Limits(shell_idle_seconds=0.3)) as at:
        talk = await Talk(at.stub).begin(start("g"))
        pids = await pids_of(talk)
        assert (await talk.end()).cut == "nothing was said for 0.3 s (`limits.shell_idle`)"
        await gone(*pids)
        talk = await Talk(at.stub).begin(
            start("g", "waits", "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 0.1; echo $i; done")
        )
        assert (await talk.end()).exit_code == 0


async def test_who_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    """What is printed waits in the terminal, and not in the node; and the shell ends when it has to all the same."""
    async with waiting(tmp_path, limits=Limits(shell_idle_seconds=1.0)) as at:
        before = resident_bytes()
        talk = await Talk(at.stub).begin(start("g", "waits", "sh", "-c", "echo $$; exec yes"))
        pid = int((await talk.until(b"\n")).split()[0])
        await gone(pid)  # for nothing more is taken, so that nothing more is said
        assert resident_bytes() - before < 48 << 20
        assert (await at.get("g")).group.status == pb.STATUS_RUNNING


async def test_who_types_what_nobody_reads_waits(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        talk = await Talk(at.stub).begin(start("g", "waits", "sleep", "1000"))
        before = resident_bytes()

        async def types() -> None:
            while True:
                await talk.type(bytes(64 << 10))

        typing = asyncio.ensure_future(types())
        done, _ = await asyncio.wait([typing], timeout=1.0)
        assert not done
        assert resident_bytes() - before < 48 << 20
        typing.cancel()
        await asyncio.wait([typing])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# How it ends otherwise.


@pytest.mark.parametrize("way", ["cancelled", "left", "removed", "drained"])
async def test_nothing_is_left_however_it_ends(tmp_path: Path, way: str) -> None:
    async with desk(tmp_path) as at:
        await at.submit(waits(tmp_path), id="g")
        await until_running(at)
        talk = await Talk(at.stub).begin(
            start("g", size=pb.TerminalSize(rows=5, columns=200) if way == "left" else None)
        )
        pids = await pids_of(talk)
        assert len(pids) >= 2
        if way == "cancelled":
            talk.call.cancel()
        elif way == "left":
            await talk.call.done_writing()
        elif way == "removed":
            (tmp_path / "go").touch()
            await at.watched("g")
            removing = asyncio.ensure_future(at.stub.RemoveTaskGroup(pb.RemoveTaskGroupRequest(id="g"), timeout=30))
            assert (await talk.end()).cut == "its group is removed"
            await removing
        else:
            draining = asyncio.ensure_future(at.serving.server.drain(30))
            assert (await talk.end()).cut == "this runner is about to end"
            (tmp_path / "go").touch()
            await draining
        await gone(*pids)
        (tmp_path / "go").touch()
        await at.serving.server.drain(30)
    assert not [name for name in os.listdir(tmp_path / "workspaces") if not name.startswith(".")]


async def test_a_workspace_stays_while_somebody_is_in_it(tmp_path: Path) -> None:
    async with waiting(tmp_path) as at:
        folder = tmp_path / "workspaces" / "g"
        talk = await Talk(at.stub).begin(start("g"))
        (tmp_path / "go").touch()
        await at.watched("g")
        await talk.type(b"touch here; pwd\n")
        assert (await talk.until(b"\n")).strip() == str(folder).encode()
        second = await Talk(at.stub).begin(start("g", "waits", "ls"))
        await second.end()
        assert second.said == b"here\n"
        assert folder.is_dir()
        await talk.type(b"exit\n")
        await talk.end()
        while folder.exists():  # noqa: ASYNC110 - it is removed beside the loop
            await asyncio.sleep(0.01)
        code, said = await refused(at.stub, start("g"))
        assert code is Code.FAILED_PRECONDITION
        assert said.startswith("the workspace of the group is gone (")
        assert "`retention.workspaces`" in said


async def test_workspaces_are_kept_for_a_while_where_the_node_is_told_so(tmp_path: Path) -> None:
    kept = Retention(workspace_seconds=3600.0)
    async with desk(tmp_path, retention=kept) as at:
        for id in ("a", "b"):
            await at.watched(await at.submit(command("fails", "echo left > behind; exit 1"), id=id))
        talk = await Talk(at.stub).begin(start("a", "fails", "cat", "behind"))
        await talk.end()
        assert talk.said == b"left\n"
        await at.stub.RemoveTaskGroup(pb.RemoveTaskGroupRequest(id="b"), timeout=30)
    async with desk(tmp_path, retention=kept) as at:  # another life knows it
        talk = await Talk(at.stub).begin(start("a", "fails", "cat", "behind"))
        assert (await talk.end()).exit_code == 0
        assert not (tmp_path / "workspaces" / "b").exists()
        await at.watched(await at.submit(command("other", "ls"), id="b"))
        os.utime(tmp_path / "workspaces" / ".kept" / "a", (1, 1))
        await at.serving.keeper.tidy()
        assert not (tmp_path / "workspaces" / "a").exists()
        assert (tmp_path / "workspaces" / "b").exists()
    async with desk(tmp_path) as at:  # one that is told otherwise
        assert not (tmp_path / "workspaces" / "b").exists()


async def test_it_is_on_record_and_what_was_said_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with waiting(tmp_path) as at:
        talk = await Talk(at.stub).begin(start("g", "waits", "sh", "-c", "read typed-text; exit 5", secrets=True))
        await talk.type(b"typed-word\n")
        await talk.end()
    said = {vars(record)["action"]: record for record in caplog.records if hasattr(record, "action")}
    opened, ended = said["shell_opened"], said["shell_ended"]
    for record in (opened, ended):
        about = [vars(record)[name] for name in ("caller", "group_id", "task", "attempt", "secrets")]
        assert about == ["local", "g", "waits", 1, True]
    assert isinstance(vars(ended)["exit_code"], int)
    assert "typed-" not in "".join(str(vars(record)) for record in caplog.records)


async def test_one_that_was_refused_is_on_record_with_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with desk(tmp_path) as at:
        await at.watched(await at.submit(command("fails", "exit 1"), id="g"))
        while (tmp_path / "workspaces" / "g").exists():  # noqa: ASYNC110 - it is removed beside the loop
            await asyncio.sleep(0.01)
        await refused(at.stub, start("g", "fails"))
    (ended,) = (vars(record) for record in caplog.records if getattr(record, "action", "") == "shell_ended")
    assert ended["exit_code"] is None
    assert ended["refused"].startswith("the workspace of the group is gone (")


async def test_an_origin_has_shells_where_its_own_guests_are_alone(tmp_path: Path) -> None:
    """Whatever it says of itself; and what it is told names nothing that it does not know."""
    peer = Rule(callers=("cloud",), scopes=frozenset({Scope.DISPATCH, Scope.SHELL}), on_behalf_of=("ada",))
    async with reached(tmp_path, MAY, OPS, peer) as (at, as_caller):
        ada, ops, cloud = as_caller("ada"), as_caller("ops"), as_caller("cloud")
        await ada.submit(waits(tmp_path))
        await until_touched(at, ada, "g")
        (listed,) = (await ops("ListTaskGroups", pb.ListTaskGroupsRequest())).groups
        stub = PeerServiceStub(at.channel)
        for id in ("g", listed.id, "..", "g\0", "", "x" * 100_000):
            for more in ({}, {"node": "../n"}, {"whole": True}, {"hops": ["h" * 1000] * 100}):
                origin: dict[str, Any] = {"node": "n", "name": "cloud", "on_behalf_of": "ada", **more}
                about = pb.ShellOrigin(**origin)
                code, said = await refused(stub, start(id, attempt=1, origin=about), metadata_of(cloud))
                assert code is Code.NOT_FOUND
                assert (
                    said
                    == "nothing is known here of what was sent for the task 'waits': it has been removed, or never came"
                )
        about = pb.ShellOrigin(node="n", name="cloud", on_behalf_of="ops")
        code, said = await refused(stub, start("g", attempt=1, origin=about), metadata_of(cloud))
        assert code is Code.PERMISSION_DENIED
        assert said.endswith("on behalf of 'ops'")
