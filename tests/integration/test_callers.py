"""Callers of one node: nobody sees or does what the table does not allow."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.certs import Kind
from runner.clock import SystemClock
from runner.config.service import DEFAULT_RULES, Rule, Scope, Service
from runner.errors import UsageError
from runner.rpc.receiving import MOST_OF_ONE
from runner.tokens import Tokens
from runner.v1 import runner_pb2 as pb
from tests.guarded import channel
from tests.material import Material
from tests.rpc import Desk, command, desk, document

pytestmark = pytest.mark.timeout(90)
Code = grpc.StatusCode

ADMINS = Rule(callers=("ops",), scopes=frozenset({Scope.ADMIN}))
SECRET = command("keeps", "echo key=hunter22 >> $OUTPUT_FILE", exports=[{"name": "key", "scope": "global", "confidential": True}])  # fmt: skip


@asynccontextmanager
async def reached(state: Path, *rules: Rule) -> AsyncIterator[tuple[Desk, Callable[..., Any]]]:
    """A node on loopback, and `as_caller(name)`: calls with a token of that name. Tasks that wait are set free at the end."""
    async with desk(state, listen=["127.0.0.1:0"], rules=rules or (*DEFAULT_RULES, ADMINS)) as at:
        tokens = Tokens(state)

        def as_caller(name: str, **more: Any) -> Any:
            more = {"scopes": frozenset(Scope), **more}
            _, text = tokens.create(name, now=SystemClock().now().wall, **more)
            return Calling(at, (("authorization", f"Bearer {text}"),))

        yield at, as_caller
        (state / "go").touch()
        await at.serving.server.drain(30)


def waits(state: Path) -> dict[str, Any]:
    return command("waits", f"while [ ! -e {state}/go ]; do sleep 0.02; done")


class Calling:
    """The stub's methods, as one caller. A stream is read to its end."""

    def __init__(self, at: Desk, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub: Any = at.stub
        self._metadata = metadata

    async def __call__(self, method: str, request: Any) -> Any:
        call = getattr(self._stub, method)(request, metadata=self._metadata, timeout=30)
        if method in ("WatchTaskGroup", "ReadLog"):
            return [message async for message in call]
        return await call

    def upload(self) -> Any:
        return self._stub.UploadWorkspace(metadata=self._metadata, timeout=30)

    async def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(method, request)
        return caught.value.code(), caught.value.details() or ""

    async def submit(self, *tasks: Any, id: str = "g", **more: Any) -> Any:
        return await self("SubmitTaskGroup", pb.SubmitTaskGroupRequest(document=document(*tasks), id=id, **more))


ABOUT_A_GROUP: dict[str, Callable[[str], Any]] = {
    "GetTaskGroup": lambda id: pb.GetTaskGroupRequest(id=id),
    "RerunTaskGroup": lambda id: pb.RerunTaskGroupRequest(id=id),
    "ExplainTaskGroup": lambda id: pb.ExplainTaskGroupRequest(id=id),
    "WatchTaskGroup": lambda id: pb.WatchTaskGroupRequest(id=id),
    "ReadLog": lambda id: pb.ReadLogRequest(id=id, task="waits"),
    "RemoveTaskGroup": lambda id: pb.RemoveTaskGroupRequest(id=id),
    "CancelTaskGroup": lambda id: pb.CancelTaskGroupRequest(id=id),
    "SignalTask": lambda id: pb.SignalTaskRequest(id=id, task="waits", signal="destroy"),
}


async def test_of_the_group_of_another_one_learns_what_one_learns_of_none(tmp_path: Path) -> None:
    async with reached(tmp_path) as (_, as_caller):
        ada, bob = as_caller("ada"), as_caller("bob")
        await ada.submit(waits(tmp_path), id="of-ada")
        for method, request in ABOUT_A_GROUP.items():
            code, message = await bob.refused(method, request("of-ada"))
            assert code is Code.NOT_FOUND
            assert (code, message.replace("of-ada", "of-none")) == await bob.refused(method, request("of-none"))
        assert list((await bob("ListTaskGroups", pb.ListTaskGroupsRequest())).groups) == []
        assert list((await bob("ListTaskGroups", pb.ListTaskGroupsRequest(caller="ada"))).groups) == []
        # Nothing of that has reached it.
        found = (await ada("GetTaskGroup", pb.GetTaskGroupRequest(id="of-ada"))).group
        assert (found.status, found.caller) == (pb.STATUS_RUNNING, "ada")


async def test_who_knows_what_an_admin_calls_it_learns_no_more(tmp_path: Path) -> None:
    """Which stands in lists, logs and the environment of its tasks."""
    async with reached(tmp_path) as (_, as_caller):
        ada, bob, ops = as_caller("ada"), as_caller("bob"), as_caller("ops")
        await ada.submit(waits(tmp_path), id="of-ada")
        (listed,) = (await ops("ListTaskGroups", pb.ListTaskGroupsRequest())).groups
        none = listed.id[:-1] + ("0" if listed.id[-1] != "0" else "1")
        for method, request in ABOUT_A_GROUP.items():
            code, message = await bob.refused(method, request(listed.id))
            assert code is Code.NOT_FOUND
            assert (code, message.replace(listed.id, none)) == await bob.refused(method, request(none))
        found = (await ops("GetTaskGroup", pb.GetTaskGroupRequest(id=listed.id))).group
        assert (found.status, found.caller) == (pb.STATUS_RUNNING, "ada")


async def test_every_caller_has_ids_of_his_own(tmp_path: Path) -> None:
    async with reached(tmp_path) as (_, as_caller):
        ada, bob = as_caller("ada"), as_caller("bob")
        await ada.submit(waits(tmp_path), labels={"whose": "ada"})
        assert not (await bob.submit(command("other", "true"), labels={"whose": "bob"})).existed
        assert (await ada.submit(waits(tmp_path), labels={"whose": "ada"})).existed
        for caller, name in ((ada, "ada"), (bob, "bob")):
            group = (await caller("GetTaskGroup", pb.GetTaskGroupRequest(id="g"))).group
            assert (group.caller, dict(group.labels)) == (name, {"whose": name})


async def test_what_a_task_sees_does_not_tell_whether_somebody_else_uses_the_same_id(tmp_path: Path) -> None:
    seen = []
    async with reached(tmp_path) as (_, as_caller):
        ada, bob = as_caller("ada"), as_caller("bob")
        await ada.submit(command("a", "true"), id="taken")
        for id in ("taken", "free"):
            await bob.submit(command("a", "pwd; env | grep -v OUTPUT_FILE | sort"), id=id)
            await bob("WatchTaskGroup", pb.WatchTaskGroupRequest(id=id))
            told = await bob("ReadLog", pb.ReadLogRequest(id=id, task="a"))
            text = b"".join(chunk.data for message in told for chunk in message.chunks).decode()
            seen.append(text.replace(id, "ID"))
    assert seen[0] == seen[1]
    assert "RUNNER_GROUP_ID=ID\n" in seen[0]


async def test_admin_sees_and_ends_the_groups_of_others_and_none_of_their_secrets(tmp_path: Path) -> None:
    async with reached(tmp_path) as (_, as_caller):
        ada, ops = as_caller("ada"), as_caller("ops")
        await ada.submit(SECRET, waits(tmp_path), id="of-ada")
        (listed,) = (await ops("ListTaskGroups", pb.ListTaskGroupsRequest(caller="ada"))).groups
        assert (await ops("GetTaskGroup", pb.GetTaskGroupRequest(id=listed.id))).group.caller == "ada"
        code, _ = await ops.refused("GetTaskGroup", pb.GetTaskGroupRequest(id=listed.id, reveal=True))
        assert code is Code.PERMISSION_DENIED
        await ops("CancelTaskGroup", pb.CancelTaskGroupRequest(id=listed.id))
        await ops("WatchTaskGroup", pb.WatchTaskGroupRequest(id=listed.id))
        ended = await ops("GetTaskGroup", pb.GetTaskGroupRequest(id=listed.id))
        assert ended.group.status == pb.STATUS_ABORTED
        assert "hunter22" not in str(ended)
        assert "hunter22" in str(await ada("GetTaskGroup", pb.GetTaskGroupRequest(id="of-ada", reveal=True)))


async def test_a_dashboard_sees_everything_and_does_nothing(tmp_path: Path) -> None:
    async with reached(tmp_path) as (_, as_caller):
        ada, wall = as_caller("ada"), as_caller("ops", scopes=frozenset({Scope.READ, Scope.ADMIN}))
        await ada.submit(waits(tmp_path), id="of-ada")
        (listed,) = (await wall("ListTaskGroups", pb.ListTaskGroupsRequest())).groups
        assert listed.caller == "ada"
        for method in ("CancelTaskGroup", "SignalTask"):
            assert (await wall.refused(method, ABOUT_A_GROUP[method](listed.id)))[0] is Code.PERMISSION_DENIED
        submission = pb.SubmitTaskGroupRequest(document=document(waits(tmp_path)))
        assert (await wall.refused("SubmitTaskGroup", submission))[0] is Code.PERMISSION_DENIED


async def test_what_rules_do_not_allow_is_told_with_its_place_and_not_accepted(tmp_path: Path) -> None:
    rules = (Rule(callers=("ada",), scopes=frozenset(Scope) - {Scope.ADMIN}, types=("os_exec",), users=("build",)),)
    async with reached(tmp_path, *rules) as (_, as_caller):
        ada = as_caller("ada")
        tasks = [
            {"name": "a", "type": "expression_evaluation", "spec": {"string_to_evaluate": "x"}},
            {"name": "b", "type": "os_exec", "spec": {"command": "true", "user": "root"}},
            {"name": "c", "type": "os_exec", "spec": {"command": "true", "user": "{{ 'root' }}"}},
            {"name": "d", "type": "os_exec", "spec": {"command": "true"}},
        ]
        verdict = await ada("ValidateTaskGroup", pb.ValidateTaskGroupRequest(document=document(*tasks)))
        assert not verdict.valid
        places = [(fault.path, fault.line > 0) for fault in verdict.faults if not fault.warning]
        assert places == [
            ("taskGroup[0].type", True),
            ("taskGroup[1].spec.user", True),
            ("taskGroup[2].spec.user", True),
        ]
        code, message = await ada.refused("SubmitTaskGroup", pb.SubmitTaskGroupRequest(document=document(*tasks)))
        assert code is Code.INVALID_ARGUMENT
        assert "does not let 'ada' run tasks as" in message
        assert list((await ada("ListTaskGroups", pb.ListTaskGroupsRequest())).groups) == []


async def test_where_groups_may_go_the_rules_say(tmp_path: Path) -> None:
    submit = frozenset({Scope.SUBMIT})
    rules = (
        Rule(callers=("ada",), scopes=submit, targets=("n?",)),
        Rule(callers=("bob",), scopes=submit, targets=("elsewhere",)),
    )
    there = {"forward": {"to": "n1"}}  # the node itself is somewhere, too
    whole, single = document(command("a", "true"), **there), document(command("a", "true", **there))
    async with reached(tmp_path, *rules) as (_, as_caller):
        ada, bob = as_caller("ada"), as_caller("bob")
        for group, place in ((whole, "forward.to"), (single, "taskGroup[0].forward.to")):
            assert (await ada("SubmitTaskGroup", pb.SubmitTaskGroupRequest(document=group))).id
            verdict = await bob("ValidateTaskGroup", pb.ValidateTaskGroupRequest(document=group))
            assert [(fault.path, fault.line > 0) for fault in verdict.faults if not fault.warning] == [(place, True)]
            code, message = await bob.refused("SubmitTaskGroup", pb.SubmitTaskGroupRequest(document=group))
            assert code is Code.INVALID_ARGUMENT
            assert "does not let 'bob' forward to \"n1\" (allowed: elsewhere)" in message


async def test_an_upload_is_its_callers(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    async with reached(tmp_path) as (_, as_caller):
        ada, bob = as_caller("ada"), as_caller("bob")
        upload = await ada("UploadWorkspace", iter([pb.UploadWorkspaceRequest(data=archive.getvalue())]))
        submission = pb.SubmitTaskGroupRequest(
            document=document(command("a", "true")), workspace_id=upload.workspace_id
        )
        assert (await bob.refused("SubmitTaskGroup", submission))[0] is Code.NOT_FOUND
        await ada("SubmitTaskGroup", submission)


async def _end(call: Any) -> Any:
    return await call


async def test_who_uploads_slowly_leaves_room_for_others(tmp_path: Path) -> None:
    async with reached(tmp_path) as (_, as_caller):
        slow = [as_caller("ada").upload() for _ in range(MOST_OF_ONE + 1)]
        ends = [asyncio.ensure_future(_end(call)) for call in slow]
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(grpc.aio.AioRpcError, match="4 workspaces of 'ada' at once"):
            await done.pop()  # whichever of them came last
        assert not done
        whole = pb.UploadWorkspaceRequest(data=b"\0" * 10240)
        other = as_caller("bob").upload()
        await other.write(whole)
        await other.done_writing()
        assert (await other).workspace_id
        for call in slow:
            call.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def test_whoever_says_nothing_is_told_nothing(tmp_path: Path) -> None:
    async with reached(tmp_path) as (at, as_caller):
        await as_caller("ada").submit(waits(tmp_path), id="of-ada")
        nobody = Calling(at, ())
        requests = {
            "SubmitTaskGroup": pb.SubmitTaskGroupRequest(document=document(waits(tmp_path))),
            "ListTaskGroups": pb.ListTaskGroupsRequest(),
            "DescribeRunner": pb.DescribeRunnerRequest(),
            **{method: request("of-ada") for method, request in ABOUT_A_GROUP.items()},
        }
        for method, request in requests.items():
            assert (await nobody.refused(method, request))[0] is Code.UNAUTHENTICATED


async def test_whoever_has_a_certificate_needs_nothing_else(tmp_path: Path) -> None:
    """Over mutual TLS, beside the socket; also after the node was told to reload."""
    material = Material.make(tmp_path / "certs")
    state = tmp_path / "state"
    listen = [f"unix:{tmp_path}/runner.sock", "127.0.0.1:0"]
    async with desk(state, listen=listen, tls=material.tls) as at:
        server = at.serving.server
        for number in range(2):
            async with channel(server.addresses[1], material.client("ada")) as to:
                ada = Desk(at.serving, to)
                await ada.submit(command("a", "true"), id=f"g{number}")
                await ada.watched(f"g{number}")
                answer = await ada.get(f"g{number}")
                assert (answer.group.caller, answer.group.status) == ("ada", pb.STATUS_SUCCESS)
            (node,) = (issued for issued in material.authority.all() if issued.kind is Kind.NODE)
            material.authority.renew(node)
            server.reload(Service(name="n1", listen=tuple(listen), tls=material.tls))
        groups = (await at.stub.ListTaskGroups(pb.ListTaskGroupsRequest(caller="ada"))).groups
        assert len(groups) == 2


@pytest.mark.parametrize(
    ("address", "good"),
    [("127.0.0.1:0", True), ("[::1]:0", True), ("localhost:0", True), ("0.0.0.0:0", False), ("[::]:0", False)],
)
async def test_plain_text_is_spoken_where_nobody_can_listen_in(tmp_path: Path, address: str, good: bool) -> None:
    if good:
        async with desk(tmp_path, listen=[address]) as at:
            assert at.serving.server.addresses
    else:
        with pytest.raises(UsageError, match=r"can be reached from other machines, and this runner has no TLS"):
            async with desk(tmp_path, listen=[address]):
                pass


async def test_the_socket_is_its_users(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        async with desk(tmp_path / "state") as at:
            (address,) = at.serving.server.addresses
            path = Path(address.removeprefix("unix:"))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert (await at.stub.DescribeRunner(pb.DescribeRunnerRequest())).caller == "local"
    finally:
        os.umask(former)
