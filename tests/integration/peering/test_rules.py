"""Whom an executor lets dispatch, what, and on whose behalf."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from msgspec.structs import replace

from runner.clock import SystemClock
from runner.config.service import DEFAULT_RULES, Limits, Rule, Scope
from runner.model.dispatch import AttemptId
from runner.model.result import Status
from runner.model.session import Cancel, Printed, Release, Signal, hop
from runner.tokens import Tokens
from tests.peers import ID, submit, talking
from tests.rpc import Desk, desk

pytestmark = pytest.mark.timeout(90)
Code = grpc.StatusCode


async def test_what_cannot_be_begun_here_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path, limits=Limits(groups_per_caller=1)) as at, talking(at.channel) as talk:
        hello = await talk.hello()
        own = hop(hello.name, hello.node)
        for said, reason, message in (
            (submit(hello.instance, type="vault"), "unknown_type", "no task type 'vault'; it has: os_exec"),
            (
                submit(hello.instance, hops=("a (1)", own, "b (2)")),
                "refused",
                f"the chain of runners goes in a circle: a (1) → {own} → b (2) → {hello.name} ({hello.node})",
            ),
            (
                submit(hello.instance, hops=tuple(f"r ({number})" for number in range(9))),
                "refused",
                "is longer than 8: r (0) → r (1)",
            ),
        ):
            await talk.say(said)
            refused = await talk.refused()
            assert refused.reason == reason
            assert message in refused.message
        await talk.say(submit(hello.instance, "exec sleep 60", hops=tuple(f"r ({number})" for number in range(8))))
        await talk.started(ID)
        await talk.say(submit(hello.instance, id=AttemptId("g", "u", 1)))
        assert "has 1 groups here that are not over" in (await talk.refused()).message
        await talk.say(Cancel(id=ID, grace=1.0))
        await talk.finished(ID)
        async with talking(at.channel) as itself:
            await itself.hello(node=hello.node)
            await itself.say(submit(hello.instance))
            assert "goes in a circle" in (await itself.refused()).message


PEERS = Rule(callers=("peer",), scopes=frozenset({Scope.DISPATCH}), types=("os_exec",), users=("nobody",))


@asynccontextmanager
async def asked_by(state: Path, *rules: Rule) -> AsyncIterator[tuple[Desk, Any]]:
    """A node on loopback, and how to talk to it with a token of a name."""
    async with desk(state, listen=["127.0.0.1:0"], rules=rules) as at:

        def as_caller(name: str, scopes: frozenset[Scope] = frozenset(Scope)) -> Any:
            _, text = Tokens(state).create(name, now=SystemClock().now().wall, scopes=scopes)
            return talking(at.channel, [("authorization", f"Bearer {text}")])

        yield at, as_caller


async def test_who_may_dispatch_has_to_be_named_by_a_rule(tmp_path: Path) -> None:
    async with asked_by(tmp_path, *DEFAULT_RULES, PEERS) as (_, as_caller):
        for name, scopes in (("ada", frozenset(Scope)), ("peer", frozenset(Scope) - {Scope.DISPATCH})):
            async with as_caller(name, scopes) as talk:
                code, details = await talk.ended()
                assert code is Code.PERMISSION_DENIED
                assert "the scope `dispatch`" in details


async def test_what_it_may_use_the_rules_say_and_reloads_count_at_once(tmp_path: Path) -> None:
    submits = Rule(callers=("peer",), scopes=frozenset({Scope.SUBMIT}), types=("*",), users=("*",))
    async with asked_by(tmp_path, PEERS, submits) as (at, as_caller), as_caller("peer") as talk:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, type="expression_evaluation"))
        refused = await talk.refused()
        assert refused.reason == "refused"
        assert refused.message.startswith("this runner does not let 'peer' use the task type \"expression_evaluation\"")
        await talk.say(submit(instance, spec={"user": "root"}))
        assert "does not let 'peer' run tasks as \"root\"" in (await talk.refused()).message
        await talk.say(submit(instance, "exec sleep 60"))
        await talk.started(ID)
        service = at.serving.server.service
        at.serving.server.reload(replace(service, rules=(replace(PEERS, types=("expression_*",)), submits)))
        await talk.say(submit(instance, id=AttemptId("g", "u", 1)))
        assert 'use the task type "os_exec"' in (await talk.refused()).message
        await talk.say(Cancel(id=ID, grace=1.0))  # what runs goes on, and is still its origin's
        assert (await talk.outcome(ID)).status is Status.ABORTED
        at.serving.server.reload(replace(service, rules=(submits,)))
        assert (await talk.ended())[0] is Code.PERMISSION_DENIED


async def test_on_whose_behalf_the_rules_say(tmp_path: Path) -> None:
    own = replace(PEERS, on_behalf_of=("ada", "ci-*"))
    async with asked_by(tmp_path, own) as (_, as_caller), as_caller("peer") as talk:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, "true", id=AttemptId("g", "t", 1), on_behalf_of="eve"))
        refused = await talk.refused()
        assert (refused.reason, refused.message) == (
            "refused",
            "no rule of this runner lets 'peer' dispatch on behalf of 'eve'",
        )
        for number, submitter in enumerate(("ada", "ci-7")):
            id = AttemptId("g", "u", number + 1)
            await talk.say(submit(instance, "true", id=id, on_behalf_of=submitter))
            assert (await talk.outcome(id)).status is Status.SUCCESS


async def test_sessions_of_two_callers_who_say_they_are_one_node_are_apart(tmp_path: Path) -> None:
    both = replace(PEERS, callers=("peer", "eve"))
    async with asked_by(tmp_path, both) as (_, as_caller), as_caller("peer") as talk, as_caller("eve") as eve:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, "echo secret > file; echo written; while [ ! -e go ]; do sleep 0.02; done"))
        await talk.until(lambda said: isinstance(said, Printed))
        (file,) = (tmp_path / "workspaces/.guests").glob("*/file")
        await eve.hello()
        await eve.say(Cancel(id=ID, grace=0.0))
        await eve.say(Signal(id=ID, signal="destroy"))
        await eve.say(submit(instance, "ls -A"))
        assert (await eve.outcome(ID)).status is Status.SUCCESS
        assert ID not in eve.printed
        await eve.say(Release(group="g"))
        last = AttemptId("h", "t", 1)
        await eve.say(submit(instance, id=last))  # it is heard behind the release
        await eve.finished(last)
        assert file.read_text() == "secret\n"
        await talk.say(Cancel(id=ID, grace=1.0))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason) == (Status.ABORTED, "cancelled")
