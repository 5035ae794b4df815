"""Attempts of another runner's groups: what is kept of them, and that each starts once, wherever the engine is killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.engine import guests
from runner.engine.admission import hidden_id
from runner.engine.engine import Engine
from runner.engine.guests import Origin
from runner.errors import GroupExistsError
from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import Input, TaskGroup
from runner.model.result import Outcome, Status
from runner.model.session import Submit
from runner.model.task import Cell, Export, Forward, Retry, Scope, Task, When
from runner.model.value import Bindings, Value
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.memory import MemoryStore
from tests.peers import submit

ORIGIN = Origin(caller="node/o", node="0123abcd", name="site-1")
ID = AttemptId("g", "t", 1)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES = st.dictionaries(NAME, st.builds(Value, TEXT, st.booleans()), max_size=3)
BINDINGS = st.builds(
    Bindings,
    imports=st.dictionaries(NAME, VALUES, max_size=3),
    inputs=VALUES,
    env=st.dictionaries(TEXT, TEXT, max_size=3),
    group_id=TEXT,
    group_name=TEXT,
    task_name=TEXT,
    task_attempt=st.integers(1, 1000),
)


class _Killed(BaseException):
    """The engine is gone in the middle of what it did."""


class _Mortal:
    """A store that kills whoever writes to it for the n-th time, before or behind that."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.left: float = float("inf")
        self.behind = False

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        return partial(self._write, verb) if name in ("accept_group", "record") else verb

    def _write(self, verb: Callable[..., None], *arguments: Any) -> None:
        self.left -= 1
        if self.left >= 0:
            verb(*arguments)
            return
        if self.behind and self.left == -1:
            verb(*arguments)
        raise _Killed


class _World:
    """A store and an executor, and one engine after the other, which an origin asks."""

    def __init__(self, script: Script = Script()) -> None:  # noqa: B008 - it is frozen
        self.clock = VirtualClock()
        self.executor = ScriptedExecutor(self.clock, lambda id: script)
        self.store = MemoryStore(self.clock.call_soon)
        self.mortal = _Mortal(self.store)
        self.sealer = Sealer.ephemeral()
        self.engine = self._engine()

    def _engine(self) -> Engine:
        mortal: Any = self.mortal
        return Engine(store=mortal, clock=self.clock, dispatcher=self.executor, sealer=self.sealer, max_parallel=8)

    def restart(self) -> None:
        self.engine.close()
        self.executor.disconnect()
        self.mortal.left = float("inf")
        self.engine = self._engine()
        self.engine.recover()

    def take(self, said: Submit, *, cancels: int = 0, origin: Origin = ORIGIN) -> str:
        submission = guests.prepared(origin, said, self.sealer, cancels)
        return self.engine.accept(submission, caller=origin.caller, workspace="/srv/shared").id

    @property
    def starts(self) -> int:
        return sum(self.executor.starts.values())


def asked(**changes: Any) -> Submit:
    """With everything that is its origin's affair."""
    task = {
        name: changes.pop(name)
        for name in list(changes)
        if name in Task.__struct_fields__ and name not in ("exports", "imports")
    }
    said = submit("here", type="scripted", **changes)
    return replace(said, dispatch=replace(said.dispatch, task=replace(said.dispatch.task, **task)))


FULL: Mapping[str, Any] = {
    "imports": {"fetch": {"password": Value("hunter2", True), "user": Value("ada")}, "none": {}},
    "inputs": {"tag": Value("v1"), "token": Value("s3cret-token", True)},
    "env": {"LANG": "C", "with.dot": "{{ .inputs.tag }}", "": "x"},
    "exports": (
        Export(name="key", confidential=True, default="default-of-key", scope=Scope.LOCAL),
        Export(name="url", default="http://x"),
    ),
}


def test_it_is_a_group_of_one_task_that_the_executor_is_given_as_its_origin_gave_it() -> None:
    world = _World()
    said = asked(
        **FULL,
        retry=Retry(attempts=5),
        when=When.FAILURE,
        condition="{{ .inputs.tag == 'no' }}",
        allow_failure=True,
        forward=Forward(to="here"),
        timeout=7.0,
        on_behalf_of="ada",
    )
    id = world.take(said)
    world.clock.run_until_idle()
    given = world.executor.dispatches[AttemptId(id, "t", 1)]
    assert given.bindings == said.dispatch.bindings
    assert given.workspace == "/srv/shared"
    assert given.task == Task(name="t", type="scripted", spec={"command": "true"}, exports=FULL["exports"], timeout=7.0)
    head = world.store.head(id)
    assert head is not None
    assert (head.group.public_id, head.group.caller, head.group.name) == ("g/t/1@0123abcd", "node/o", "deploy")
    assert head.group.labels == {"origin": "site-1", "origin-group": "g", "on-behalf-of": "ada"}
    assert world.engine.status(id) is Status.SUCCESS


def test_an_instance_has_its_values_and_is_nobody_elses_affair() -> None:
    world = _World()
    said = asked(matrix=Cell(of="t", values={"os": "linux"}, max_parallel=1, fail_fast=True))
    id = world.take(said)
    world.clock.run_until_idle()
    given = world.executor.dispatches[AttemptId(id, "t", 1)]
    assert given.bindings.matrix == {"os": "linux"}
    assert given.task.matrix == Cell(of="t", values={"os": "linux"})
    assert world.engine.status(id) is Status.SUCCESS


def test_what_joins_instances_is_not_carried_out_for_others() -> None:
    assert guests.prepared(ORIGIN, asked(joins=True), _World().sealer).group.tasks[0].joins is False


def test_nothing_confidential_is_stored_in_the_clear() -> None:
    world = _World()
    id = world.take(asked(**FULL))
    record = world.store.group(id)
    assert record is not None
    for secret in (b"hunter2", b"s3cret-token", b"default-of-key"):
        assert secret not in record.group.document
        assert secret not in record.group.inputs
    assert b"ada" in record.group.inputs


@given(bindings=BINDINGS)
def test_bindings_come_back_as_they_were_given(bindings: Bindings) -> None:
    said = submit("here")
    said = replace(said, dispatch=replace(said.dispatch, bindings=bindings))
    submission = guests.prepared(ORIGIN, said, Sealer.ephemeral())
    assert guests.bindings(submission.inputs) == bindings


def test_what_other_groups_are_given_is_not_taken_for_it() -> None:
    assert guests.bindings({"dispatch": Value("{}"), "inputs": Value("x")}) is None


@given(NAME, st.integers(1, 1 << 31), st.text(max_size=40))
def test_its_name_tells_which_attempt_it_is(task: str, attempt: int, group: str) -> None:
    id = AttemptId(group, task, attempt)
    assert ORIGIN.attempt(ORIGIN.public_id(id)) == id
    assert replace(ORIGIN, node="another").attempt(ORIGIN.public_id(id)) is None
    known_as = ORIGIN.id(id)
    assert guests.is_guest(known_as)
    assert set(known_as.removeprefix("guest+")) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-~"
    )
    others = (replace(ORIGIN, node="another"), replace(ORIGIN, caller="node/p"))
    assert len({known_as, *(other.id(id) for other in others), ORIGIN.id(AttemptId(group, task, attempt + 1))}) == 4


@pytest.mark.parametrize("public_id", ["g", "g@0123abcd", "t/1@0123abcd", "g/t/x@0123abcd", "g/t/1", ""])
def test_what_is_no_guest_is_none(public_id: str) -> None:
    assert ORIGIN.attempt(public_id) is None
    assert not guests.is_guest(hidden_id("somebody", "guest"))


def test_sent_again_it_is_the_same_and_with_other_content_a_conflict() -> None:
    world = _World()
    said = asked(**FULL)
    id = world.take(said)
    again = replace(said, hops=("a (1)",), after=7, cancel_grace=1.0)
    sent = {"resumed": True, "handle": b"x", "instance": "other", "paused": True, "on_behalf_of": "somebody"}
    again = replace(again, dispatch=replace(said.dispatch, **sent))
    assert world.take(again, origin=replace(ORIGIN, name="renamed")) == id
    world.clock.run_until_idle()
    assert world.take(said) == id
    assert world.starts == 1
    others: tuple[dict[str, Any], ...] = (
        {"inputs": {**FULL["inputs"], "token": Value("another", True)}},
        {"inputs": {**FULL["inputs"], "token": Value("s3cret-token")}},
        {"imports": {"fetch": FULL["imports"]["fetch"]}},
        {"env": {}},
        {"timeout": 8.0},
        {"condition": False},
        {"exports": ()},
    )
    for changes in others:
        with pytest.raises(GroupExistsError):
            world.take(asked(**{**FULL, **changes}))
    assert world.take(said, origin=replace(ORIGIN, node="another")) != id


def test_its_end_is_what_the_row_says() -> None:
    outputs = {"key": Value("made-key", True), "url": Value("http://y")}
    ended = Outcome(status=Status.FAILED, exit_code=3, error="no", outputs=outputs)
    world = _World(Script(outcome=ended))
    id = world.take(asked(**FULL))
    world.clock.run_until_idle()
    outcome = world.engine.outcomes(id, ["t"])["t"]
    assert (outcome.status, outcome.exit_code, outcome.error, outcome.outputs) == (Status.FAILED, 3, "no", outputs)
    assert outcome.started_at is not None


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("writes", range(6))
def test_killed_at_any_commit_it_starts_once_with_its_bindings(writes: int, behind: bool) -> None:
    world = _World(Script(duration=1.0))
    said = asked(**FULL)
    world.mortal.left, world.mortal.behind = writes, behind
    try:
        world.take(said)
        world.clock.run_until_idle()
    except _Killed:
        world.restart()
    else:
        assert writes > 2, "it is killed somewhere"
    id = world.take(said)  # its origin sends it again
    world.clock.run_until_idle()
    assert world.engine.outcomes(id, ["t"])["t"].status is Status.SUCCESS
    assert world.starts == 1
    assert world.executor.dispatches[AttemptId(id, "t", 1)].bindings == said.dispatch.bindings
    assert world.executor.dispatches[AttemptId(id, "t", 1)].task.exports == FULL["exports"]
    numbers = [event.number for event in world.engine.events(id)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("cancels", [1, 2])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("writes", range(4))
def test_cancelled_before_it_came_it_starts_never_wherever_it_is_killed(
    writes: int, behind: bool, cancels: int
) -> None:
    world = _World()
    world.mortal.left, world.mortal.behind = writes, behind
    try:
        world.take(asked(), cancels=cancels)
        world.clock.run_until_idle()
    except _Killed:
        world.restart()
        world.clock.run_until_idle()  # nobody sends it again before that is over
        assert world.starts == 0
    id = world.take(asked(), cancels=cancels)
    world.clock.run_until_idle()
    outcome = world.engine.outcomes(id, ["t"])["t"]
    assert (outcome.status, outcome.reason, outcome.started_at) == (Status.ABORTED, "cancelled", None)
    assert world.starts == 0
    assert world.engine.status(id) is Status.ABORTED
    assert [event.kind for event in world.engine.events(id)].count(Kind.TASK_DISPATCHED) == 0


def test_an_ordinary_group_is_accepted_as_ever() -> None:
    world = _World()
    group = TaskGroup(
        id="g",
        name="deploy",
        inputs=(Input(name="a", default="b"),),
        tasks=(Task(name="t", type="scripted"),),
    )
    id = world.engine.submit(group, caller="node/o")
    world.clock.run_until_idle()
    assert id == hidden_id("node/o", "g")
    assert world.engine.status(id) is Status.SUCCESS
    record = world.store.group(id)
    assert record is not None
    assert codec.decode_values(record.group.inputs, lambda sealed: sealed) == {"a": Value("b")}
