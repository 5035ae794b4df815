"""`runner token`, as its users run it, beside a node that serves."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import grpc
import pytest

from runner.clock import rfc3339
from runner.config.service import Scope
from tests.acceptance.command import Command
from tests.guarded import channel, code_of, describe, serving
from tests.material import now

DESCRIBE = "/runner.v1.RunnerService/DescribeRunner"


def state_dir(runner: Command) -> Path:
    return runner.home / ".local/state/runner"


async def test_a_token_from_its_first_day_to_its_last(runner: Command) -> None:
    async with (
        serving(state_dir(runner), wall=now().timestamp()) as node,
        channel(node.addresses[0]) as to,
    ):
        made = await asyncio.to_thread(runner, "token", "create", "ada", "--scope", "read", "--expires", "30d")
        assert made.status == 0
        token = made.stdout.removesuffix("\n")
        assert re.fullmatch("rt_[0-9a-f]{12}_[0-9a-f]{64}", token)
        assert token not in made.stderr
        assert made.stderr.startswith("ada: read, until ")
        node.wait(3600)
        assert list((await describe(to, token)).scopes) == [Scope.READ]

        listed = await asyncio.to_thread(runner, "token", "ls", "--output", "json")
        (shown,) = listed.json["tokens"]
        assert (shown["id"], shown["name"], shown["scopes"]) == (token.split("_")[1], "ada", ["read"])
        assert shown["lastUsed"] == rfc3339(node.clock.now().wall)[:10]
        assert token.split("_")[2] not in listed.stdout

        revoked = await asyncio.to_thread(runner, "token", "revoke", shown["id"])
        assert (revoked.status, revoked.stdout) == (0, f"{shown['id']}: revoked\n")
        assert (await code_of(to, DESCRIBE, token))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert json.loads((await asyncio.to_thread(runner, "token", "ls", "--output", "json")).stdout) == {"tokens": []}


def test_what_is_shown_of_tokens(runner: Command) -> None:
    for arguments in (("ada",), ("ops", "--scope", "read,cancel", "--scope", "admin", "--expires", "never")):
        assert runner("token", "create", *arguments, "--description", "of a").status == 0
    shown = runner("token", "ls").stdout.splitlines()
    assert shown[0].split() == ["ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST", "USED", "DESCRIPTION"]
    rows = {row.split()[1]: row.split()[2:] for row in shown[1:]}
    assert rows["ada"][0] == "submit,read,cancel,remove"
    assert rows["ops"][0] == "read,cancel,admin"
    assert rows["ops"][2:] == ["never", "never", "of", "a"]
    assert not any(row.endswith(" ") for row in shown)


def test_tokens_for_programs(runner: Command) -> None:
    made = runner("token", "create", "ada", "--scope", "read", "--expires", "never", "--output", "json")
    assert (made.status, made.stderr) == (0, "")
    token = made.json.pop("token")
    id = token.split("_")[1]
    (listed,) = runner("token", "ls", "--output", "json").json["tokens"]
    assert made.json == {**{name: listed[name] for name in listed if name != "lastUsed"}, "token": token}
    assert (listed["id"], listed["scopes"], listed["expires"]) == (id, ["read"], None)
    revoked = runner("token", "revoke", id, "0123456789ab", "--output", "json")
    assert (revoked.status, revoked.json) == (2, {"revoked": [id]}), "the first is gone, whatever becomes of others"
    assert "no token with the id '0123456789ab'" in revoked.stderr
    again = runner("token", "revoke", id, "--output", "json")
    assert (again.status, again.stdout) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "a b"), "a caller cannot be called 'a b'"),
        (("create", "local"), "whoever asks on the node's own socket"),
        (("create", "ada", "--scope", "admin"), "needs a scope beside `admin`"),
        (
            ("create", "ada", "--scope", "read,write"),
            "'write' is no scope; expected submit, read, cancel, remove, shell, reveal, dispatch, admin",
        ),
        (("create", "ada", "--expires", "soon"), "'soon': expected a duration such as"),
        (("create", "ada", "--expires", "0"), "good for a second at least"),
        (("create", "ada", "--description", "a\nb"), "one line of at most 200 characters"),
        (("revoke", "0123456789ab"), "there is no token with the id '0123456789ab'"),
        (("revoke",), "the following arguments are required: ID"),
        ((), "the following arguments are required: ACTION"),
    ],
)
def test_what_is_refused(runner: Command, arguments: tuple[str, ...], says: str) -> None:
    refused = runner("token", *arguments)
    assert (refused.status, refused.stdout) == (2, "")
    assert says in refused.stderr
    assert not (state_dir(runner) / "tokens").exists()


def test_a_state_directory_that_cannot_be_written_is_told(runner: Command) -> None:
    (runner.folder / "file").write_text("")
    refused = runner("token", "create", "ada", "--state-dir", "file")
    assert refused.status == 1
    assert "the token cannot be kept" in refused.stderr
