"""Tasks that go to other runners: where they are sent, how they wait for one, and what others get to feel of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runner.engine.engine import Engine
from runner.engine.targets import Alone
from runner.errors import StoreFullError
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Reason, Status, Waiting
from runner.model.task import Export, Forward, Import, Retry, When
from runner.model.value import Value
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.memory import MemoryStore
from tests.unit.engine.world import World, task

FAILS = Outcome(status=Status.FAILED, exit_code=1)


def test_it_runs_where_it_was_sent_and_holds_no_slot() -> None:
    world = World(slots=1)
    world.submit(task("a"), task("b"), task("c", None), task("d", None))
    world.pass_time(0.5)
    assert world.peers["there"].in_flight == {AttemptId("g", "a", 1), AttemptId("g", "b", 1)}
    assert (world.engine.load.taken, world.engine.load.waiting) == (1, 1)
    world.clock.run_until_idle()
    assert {name: world.result(name).runner for name in "abcd"} == {
        "a": "there", "b": "there", "c": "local", "d": "local",
    }  # fmt: skip
    dispatched = world.events(Kind.TASK_DISPATCHED)
    assert {event.task: event.fields["runner"] for event in dispatched} == {
        "a": "there", "b": "there", "c": "local", "d": "local",
    }  # fmt: skip
    assert world.peers["there"].dispatches[AttemptId("g", "a", 1)].instance == "there-1"
    assert world.peers["there"].released == ["g"]
    assert world.peers["yonder"].released == []
    assert world.here.released == ["g"]


def test_a_runner_without_peers_says_that_it_has_none() -> None:
    clock = VirtualClock()
    executor = ScriptedExecutor(clock, lambda id: Script())
    store = MemoryStore(clock.call_soon)
    engine = Engine(store=store, clock=clock, dispatcher=executor, sealer=Sealer.ephemeral(), max_parallel=1)
    assert list(Alone(executor).all()) == [executor]
    engine.submit(TaskGroup(id="g", name="", tasks=(task(retry=Retry(attempts=3)),)))
    clock.run_until_idle()
    end = engine.result("g").results["a"]
    assert (end.status, end.reason, end.attempts) == (Status.ERRORED, "no_such_runner", 0)
    assert end.error == "this runner has no peers that it could forward to"


@pytest.mark.parametrize(
    ("to", "runner"),
    [
        ("{{ .inputs.site }}", "there"),
        (" {{ 'yonder' if task.attempt == 2 else inputs.site }} ", "there"),
        ("{{ .env.WHERE }}", "yonder"),
        ("local", "local"),
    ],
)
def test_the_name_may_be_a_template(to: str, runner: str) -> None:
    world = World()
    world.submit(task(forward=Forward(to=to)), env={"WHERE": "yonder"})
    world.clock.run_until_idle()
    assert (world.result().status, world.result().runner) == (Status.SUCCESS, runner)


def test_the_name_may_come_from_another_task() -> None:
    world = World(lambda id: Script(outcome=Outcome(status=Status.SUCCESS, outputs={"site": Value("yonder")})))
    world.submit(
        task("pick", None, exports=(Export(name="site"),)),
        task(forward=Forward(to="{{ .pick.site }}"), imports=(Import(task="pick", variable="site"),)),
    )
    world.clock.run_until_idle()
    assert world.result().runner == "yonder"


@pytest.mark.parametrize(
    ("to", "reason", "words"),
    [
        ("nobody", "no_such_runner", "there is no runner 'nobody'"),
        ("{{ .inputs.sight }}", "bad_template", "forward.to: "),
        ("{{ .env.EMPTY }}", "bad_template", "gives nothing"),
        ("{{ .inputs.token }}", "bad_template", "confidential"),
    ],
)
def test_who_cannot_be_sent_anywhere_ends(to: str, reason: str, words: str) -> None:
    world = World()
    tasks = [
        task(forward=Forward(to=to), retry=Retry(attempts=3)),
        task("b", None, depends_on=("a",), when=When.FAILURE),
    ]
    world.submit(*tasks, env={"EMPTY": ""})
    world.clock.run_until_idle()
    end = world.result()
    assert (end.status, end.reason, end.attempts, end.runner) == (Status.ERRORED, reason, 0, None)
    assert words in (end.error or "")
    assert "hush" not in (end.error or "")
    assert world.result("b").status is Status.SUCCESS


def test_without_templates_a_name_is_what_it_is() -> None:
    world = World()
    world.submit(task(forward=Forward(to="{{ .inputs.site }}"), template=False))
    world.clock.run_until_idle()
    assert world.result().error == "there is no runner '{{ .inputs.site }}'"


def test_it_waits_until_its_runner_is_there() -> None:
    world = World(up=False)
    world.submit(task())
    world.pass_time(10)
    assert (world.result().status, world.result().waiting) == (Status.PENDING, Waiting.PEER_UNREACHABLE)
    (waiting,) = world.events(Kind.TASK_WAITING)
    assert waiting.fields == {"waiting": "peer_unreachable", "why": "there cannot be reached"}
    (row,) = world.store.tasks("g", ["a"])
    assert row.waiting == "peer_unreachable"
    world.links["yonder"].comes_back()
    world.pass_time(1)
    assert world.result().waiting is Waiting.PEER_UNREACHABLE
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert world.result().status is Status.SUCCESS
    assert len(world.events(Kind.TASK_WAITING)) == 1  # nothing new was to be told


def test_the_next_life_goes_on_waiting_and_tells_it_once() -> None:
    world = World(up=False)
    world.submit(task())
    world.pass_time(1)
    world.restart(up=False)
    world.pass_time(1)
    assert world.result().waiting is Waiting.PEER_UNREACHABLE
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert world.result().status is Status.SUCCESS
    assert len(world.events(Kind.TASK_WAITING)) == 1


def test_a_retry_waits_for_its_runner_too() -> None:
    world = World(lambda id: Script(outcome=FAILS if id.attempt == 1 else Script().outcome))
    world.submit(task(retry=Retry(attempts=2, delay=5.0)))
    world.pass_time(1)
    world.links["there"].breaks()
    world.pass_time(20)
    assert (world.result().attempts, world.result().waiting) == (1, Waiting.PEER_UNREACHABLE)
    world.restart(up=False)
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert (world.result().status, world.result().attempts) == (Status.SUCCESS, 2)


def test_labels_choose_among_those_that_are_there() -> None:
    world = World(slots=1)
    world.links["there"].breaks()
    world.submit(
        task("a", Forward(labels={"os": "linux"})),
        task("b", Forward(labels={"site": "there"})),
        task("c", Forward(labels={"os": "plan9"})),
    )
    world.pass_time(2)
    assert world.result("a").runner == "yonder"
    assert world.result("b").waiting is Waiting.PEER_UNREACHABLE
    assert world.result("c").reason == "no_such_runner"


def test_who_is_chosen_here_queues_for_a_slot() -> None:
    world = World(slots=1, up=False)
    world.submit(task("x", None), task("a", Forward(labels={"os": "linux"})), task("b"))
    world.pass_time(0.5)
    assert [(world.result(name).status, world.result(name).waiting) for name in "xa"] == [
        (Status.RUNNING, None),
        (Status.PENDING, Waiting.SLOT),
    ]
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert [world.result(name).runner for name in "xab"] == ["local", "local", "there"]


def test_a_cancel_ends_those_that_wait_and_lets_clean_up_go_abroad() -> None:
    world = World(up=False)
    world.submit(task("a"), task("b", depends_on=("a",), when=When.ALWAYS), cleanup_timeout=60.0)
    world.pass_time(1)
    world.engine.cancel("g")
    world.pass_time(1)
    assert (world.result("a").status, world.result("a").reason) == (Status.SKIPPED, "group_aborted")
    assert world.result("b").waiting is Waiting.PEER_UNREACHABLE
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert (world.result("b").status, world.result("b").runner) == (Status.SUCCESS, "there")
    assert world.engine.status("g") is Status.ABORTED


@pytest.mark.parametrize("group", [{"timeout": 5.0}, {"timeout": 5.0, "cleanup_timeout": 3.0}])
def test_a_group_ends_though_its_runner_never_comes(group: dict[str, Any]) -> None:
    world = World(up=False)
    world.submit(task("a"), task("b", when=When.ALWAYS), **group)
    world.clock.run_until_idle()
    assert world.engine.result("g").reason == "group_timeout"
    assert {world.result(name).reason for name in "ab"} == {"group_aborted"}


def test_it_is_sent_nowhere_before_that_is_safe() -> None:
    world = World()
    syncs: list[Callable[[Exception | None], None]] = []
    world.store.hold = syncs.append
    world.submit(task())
    world.pass_time(5)
    assert world.peers["there"].dispatches == {}
    assert world.result().status is Status.RUNNING
    syncs.pop(0)(StoreFullError())
    world.pass_time(5)
    assert world.peers["there"].dispatches == {}
    while syncs:
        syncs.pop(0)(None)
    world.pass_time(0.1)
    assert list(world.peers["there"].dispatches) == [AttemptId("g", "a", 1)]


def test_while_nothing_can_be_written_nothing_is_sent_and_waiting_ones_can_be_cancelled() -> None:
    world = World(up=False)
    world.submit(task())
    world.pass_time(1)
    world.store.full = True
    world.links["there"].comes_back()
    world.pass_time(5)
    assert world.peers["there"].dispatches == {}
    world.engine.cancel("g")
    world.pass_time(5)
    result = world.engine.unwritten_end("g")
    assert result is not None
    assert (result.reason, result.results["a"].status) == (Reason.STATE_NOT_WRITTEN, Status.ABORTED)
    world.store.full = False
    world.clock.run_until_idle()
    assert world.engine.status("g") is Status.ABORTED
    assert world.peers["there"].dispatches == {}


MANY = 1000


def test_thousands_that_wait_are_decided_piece_by_piece_lowest_index_first() -> None:
    world = World(lambda id: Script(start_after=1.0 + int(id.task[1:] or 0) / 100, duration=20.0), up=False, most=10)
    world.submit(*(task(f"t{number}") for number in range(MANY)), task("z", Forward(to="yonder")))
    world.pass_time(1)
    assert len(world.events(Kind.TASK_WAITING)) == MANY + 1
    world.links["there"].comes_back()
    world.links["yonder"].comes_back()
    world.pass_time(0.5)
    order = [event.task for event in world.events(Kind.TASK_DISPATCHED)]
    assert order == [*(f"t{number}" for number in range(MANY)), "z"]
    world.links["there"].breaks()
    world.pass_time(0.1)
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert world.engine.status("g") is Status.SUCCESS
    assert [event.task for event in world.events(Kind.PEER_BACK)] == order[:-1]
    assert world.store.largest <= 6 * 10


def test_a_runner_that_comes_and_goes_leaves_each_its_turn() -> None:
    """However often something changes while they are asked."""
    world = World(up=False, most=10)
    world.submit(*(task(f"t{number}", Forward(to="yonder" if number % 2 else "there")) for number in range(100)))
    world.pass_time(1)
    for _ in range(5):
        world.links["there"].comes_back()
        world.links["there"].breaks()
    world.links["yonder"].comes_back()
    world.pass_time(0.5)
    assert len(world.events(Kind.TASK_DISPATCHED)) == 50
    assert {event.fields["runner"] for event in world.events(Kind.TASK_DISPATCHED)} == {"yonder"}
