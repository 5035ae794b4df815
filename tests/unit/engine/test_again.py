"""A group that is over, once more: what is taken over, and what runs again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from runner.engine import again, guests
from runner.engine.engine import Engine
from runner.errors import UsageError
from runner.model import codec
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Export, Forward, Import, Scope, Task, When
from runner.model.value import Value
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.base import GroupRow
from runner.store.memory import MemoryStore

Ends = Callable[[str], Outcome]


def good(name: str) -> Outcome:
    return Outcome(status=Status.SUCCESS, exit_code=0, outputs={"v": Value(f"{name}-value", confidential=True)})


def bad(name: str) -> Outcome:
    del name
    return Outcome(status=Status.FAILED, exit_code=1)


def task(name: str, *after: str, **more: Any) -> Task:
    export = Export(name="v", confidential=True, scope=Scope.GLOBAL, default="none")
    return Task(name=name, type="t", depends_on=after, exports=(export,), **more)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock.call_soon)
        self.sealer = Sealer.ephemeral()
        self.ends: Ends = good
        self.here = ScriptedExecutor(self.clock, lambda id: Script(duration=1.0, outcome=self.ends(id.task)))
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(
            store=self.store, clock=self.clock, dispatcher=self.here, sealer=self.sealer, max_parallel=4, hide_id=lambda caller, id: id
        )  # fmt: skip

    def restart(self) -> None:
        self.engine.close()
        self.engine = self._engine()
        self.engine.recover()

    def run(self, *tasks: Task, id: str = "g", **more: Any) -> None:
        self.engine.submit(TaskGroup(id=id, tasks=tasks, **more))
        self.clock.run_until_idle()

    def prepared(self, former: str, id: str, *beginning: str) -> again.Again:
        return again.prepare(self.engine.record_of(former), self.sealer, id, id, beginning)

    def rerun(self, former: str, id: str, *beginning: str) -> Sequence[str]:
        """The tasks that were to be done again."""
        prepared = self.prepared(former, id, *beginning)
        self.engine.accept(prepared.submission)
        self.clock.run_until_idle()
        return prepared.tasks

    def ran(self, id: str) -> set[str]:
        return {attempt.task for _, attempt in self.here.starts if attempt.group == id}

    def statuses(self, id: str) -> dict[str, str]:
        return {name: it.status.value for name, it in self.engine.result(id).results.items()}


@pytest.fixture
def world() -> World:
    return World()


def test_what_failed_and_what_follows_runs_again_with_the_values_of_what_did_not(world: World) -> None:
    world.ends = lambda name: bad(name) if name == "build" else good(name)
    use = task("use", "build", imports=(Import(task="fetch", variable="v"),))
    world.run(task("fetch"), task("build", "fetch"), use, task("other"))
    world.ends = good
    assert world.rerun("g", "h") == ("build", "use")
    assert world.ran("h") == {"build", "use"}
    result = world.engine.result("h")
    assert result.status is Status.SUCCESS
    assert {name: it.cached for name, it in result.results.items()} == {
        "fetch": True, "build": False, "use": False, "other": True,
    }  # fmt: skip
    assert result.results["fetch"].outputs["v"] == Value("fetch-value", confidential=True)
    [given] = [dispatch for id, dispatch in world.here.dispatches.items() if (id.group, id.task) == ("h", "use")]
    assert given.bindings.imports["fetch"]["v"].text == "fetch-value"
    assert world.statuses("g")["build"] == "failed", "the former group stays as it is"
    accepted = world.engine.events("h")[0]
    assert (accepted.kind, accepted.fields["again"], accepted.fields["kept"]) == (Kind.GROUP_ACCEPTED, "g", 2)


def test_it_goes_on_in_the_next_life_of_the_engine(world: World) -> None:
    world.ends = lambda name: bad(name) if name == "b" else good(name)
    world.run(task("a"), task("b", "a"), task("c", "b"))
    world.ends = good
    world.engine.accept(world.prepared("g", "h").submission)
    world.restart()
    world.clock.run_until_idle()
    assert world.engine.status("h") is Status.SUCCESS
    assert world.ran("h") == {"b", "c"}


def test_what_was_allowed_to_fail_is_settled_and_what_was_meant_to_be_skipped_too(world: World) -> None:
    world.ends = lambda name: bad(name) if name in ("lint", "build") else good(name)
    never = task("never", condition=False)
    unneeded = task("unneeded", "plain", when=When.FAILURE)
    world.run(
        task("plain"), task("lint", allow_failure=True), task("ok", "lint"), never, unneeded, task("build", "ok"), task("ship", "build")
    )  # fmt: skip
    assert world.rerun("g", "h") == ("build", "ship")
    assert world.statuses("h") == {
        "plain": "success", "lint": "failed", "ok": "success", "never": "skipped", "unneeded": "skipped",
        "build": "failed", "ship": "skipped",
    }  # fmt: skip


def test_what_a_cancel_has_kept_from_beginning_runs(world: World) -> None:
    world.engine.submit(TaskGroup(id="g", tasks=(task("a"), task("b", "a"), task("c"))))
    world.clock.run_until(world.clock.now().boot + 0.5)
    world.engine.cancel("g")
    world.clock.run_until_idle()
    assert world.rerun("g", "h") == ("a", "b", "c")
    assert world.engine.status("h") is Status.SUCCESS


def test_from_a_task_on(world: World) -> None:
    world.run(task("a"), task("b", "a"), task("c", "b"), task("d"))
    assert world.rerun("g", "h", "b") == ("b", "c")
    assert world.rerun("h", "i", "c", "d") == ("c", "d")
    assert world.ran("i") == {"c", "d"}


def test_what_cannot_be(world: World) -> None:
    world.ends = lambda name: bad(name) if name == "b" else good(name)
    world.run(task("a"), task("b", "a"), task("c", "b"))
    with pytest.raises(UsageError, match="'c' depends on 'b', which did not succeed: begin there"):
        world.prepared("g", "h", "c")
    with pytest.raises(UsageError, match="no task 'd'"):
        world.prepared("g", "h", "d")
    world.ends = good
    world.rerun("g", "h")
    with pytest.raises(UsageError, match="all of the group h was successful"):
        world.prepared("h", "i")
    world.engine.submit(TaskGroup(id="runs", tasks=(task("a"),)))
    with pytest.raises(UsageError, match="is not over"):
        world.prepared("runs", "i")


def test_the_same_again_is_the_same_group(world: World) -> None:
    world.run(task("a"), task("b"))
    assert world.rerun("g", "h", "a") == ("a",)
    assert world.engine.accept(world.prepared("g", "h", "a").submission).existed
    for other in (("g", "h", "b"), ("h", "h", "a")):
        assert world.prepared(*other).submission.digest != world.prepared("g", "h", "a").submission.digest


def groups() -> Iterator[tuple[random.Random, list[Task]]]:
    """Random graphs."""
    for seed in range(60):
        chance = random.Random(seed)
        tasks: list[Task] = []
        for number in range(chance.randint(1, 12)):
            names = [each.name for each in tasks]
            after = chance.sample(names, min(len(names), chance.randint(0, 2)))
            imports = tuple(
                Import(task=name, variable="v") for name in chance.sample(names, min(len(names), chance.randint(0, 1)))
            )
            when = chance.choices(list(When), [8, 1, 1])[0]
            tasks.append(task(f"t{number}", *after, imports=imports, when=when, allow_failure=chance.random() < 0.2))
        yield chance, tasks


def test_it_ends_as_a_fresh_run_does_and_runs_exactly_what_follows_from_what_failed() -> None:
    """Whatever fails the first time, when nothing does later."""
    for chance, tasks in groups():
        world = World()
        failing = {each.name for each in tasks if chance.random() < 0.3}
        world.ends = lambda name, failing=failing: bad(name) if name in failing else good(name)  # type: ignore[misc]
        world.run(*tasks)
        if world.engine.status("g") is Status.SUCCESS:
            continue
        former = world.engine.result("g").results
        # What failed and was allowed to stays so: a fresh run in which that fails, and nothing else.
        allowed = {each.name for each in tasks if each.allow_failure and former[each.name].status is Status.FAILED}
        again_ = set(world.prepared("g", "h").tasks)
        allowed -= again_
        world.ends = lambda name, allowed=allowed: bad(name) if name in allowed else good(name)  # type: ignore[misc]
        world.rerun("g", "h")
        world.run(*tasks, id="fresh")
        assert world.statuses("h") == world.statuses("fresh")
        assert world.ran("h") == again_ & world.ran("fresh")
        outputs = [{name: it.outputs for name, it in world.engine.result(id).results.items()} for id in ("h", "fresh")]
        assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row: replace(row, id=f"{guests._PREFIX}g"),
            "the group belongs to another runner: run it again there",
        ),
        (
            lambda row: replace(
                row, document=codec.encode_group(TaskGroup(forward=Forward(to="b"), tasks=(task("a"),)))
            ),
            "the group is carried out by another runner as a whole, which takes nothing over: submit it again",
        ),
    ],
)
def test_groups_of_which_another_runner_has_more(
    world: World, change: Callable[[GroupRow], GroupRow], message: str
) -> None:
    world.run(task("a"))
    record = world.engine.record_of("g")
    with pytest.raises(UsageError) as caught:
        again.prepare(replace(record, group=change(record.group)), world.sealer, "h", "h", ())
    assert caught.value.message == message
