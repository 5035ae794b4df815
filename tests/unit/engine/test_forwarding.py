"""Tasks that go to other runners: where they are sent, how they wait for one, and what others get to feel of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from runner.engine.engine import Engine
from runner.engine.targets import Alone
from runner.errors import StoreFullError
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.group import Input, TaskGroup
from runner.model.result import Outcome, Reason, Status, TaskResult, Waiting
from runner.model.task import Export, Forward, Import, Retry, Task, When
from runner.model.value import Value
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import OnStop, Script
from runner.simulator.targets import Link, ScriptedTargets
from runner.store.base import Batch
from runner.store.memory import MemoryStore

LOST_AFTER = 30.0
THERE = Forward(to="there")
FAILS = Outcome(status=Status.FAILED, exit_code=1)


class Watched(MemoryStore):
    """Knows how much its largest transaction has had, and may be full."""

    largest = 0
    full = False
    hold: Callable[[Callable[[Exception | None], None]], None] | None = None
    """Takes the answers to syncs, where the disk takes its time."""

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        if self.hold is not None:
            self.hold(done)
        else:
            super().sync(done)

    def record(self, batch: Batch) -> None:
        if self.full:
            raise StoreFullError
        self.largest = max(self.largest, len(batch.tasks) + len(batch.attempts) + len(batch.events))
        super().record(batch)


class World:
    """A runner `local` and two others, `there` and `yonder`; one engine after the other."""

    def __init__(
        self,
        scripts: Callable[[AttemptId], Script] = lambda id: Script(duration=1.0),
        *,
        slots: int = 2,
        up: bool = True,
        most: int = 50,
    ) -> None:
        self.clock = VirtualClock()
        self.store = Watched(self.clock.call_soon)
        self.sealer = Sealer.ephemeral()
        self.here = ScriptedExecutor(self.clock, scripts)
        self.peers = {
            name: ScriptedExecutor(self.clock.elsewhere(), scripts, name=name, instance=f"{name}-1")
            for name in ("there", "yonder")
        }
        self.links: dict[str, Link] = {}
        self.slots = slots
        self.most = most
        self.engine = self._engine(up)

    def _engine(self, up: bool) -> Engine:
        targets = ScriptedTargets(self.here, labels={"os": "linux"})
        for name, executor in self.peers.items():
            self.links[name] = Link(executor, self.clock, lost_after=LOST_AFTER, up=up)
            targets.add(self.links[name], labels={"os": "linux", "site": name})
        return Engine(
            store=self.store,
            clock=self.clock,
            dispatcher=self.here,
            targets=targets,
            sealer=self.sealer,
            max_parallel=self.slots,
            most_at_once=self.most,
        )

    def restart(self, *, up: bool = True) -> None:
        self.engine.close()
        for executor in (self.here, *self.peers.values()):
            executor.disconnect()
        self.engine = self._engine(up)
        self.engine.recover()

    def submit(self, *tasks: Task, inputs: Mapping[str, str] | None = None, **group: Any) -> None:
        declared = (Input(name="site", default="there"), Input(name="token", confidential=True, default="hush"))
        self.engine.submit(TaskGroup(id="g", name="deploy", inputs=declared, tasks=tasks, **group), inputs)

    def pass_time(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)

    def result(self, task: str = "a") -> TaskResult:
        return self.engine.result("g").results[task]

    def events(self, *kinds: Kind) -> Sequence[Event]:
        return [event for event in self.engine.events("g", limit=100_000) if event.kind in kinds]


def task(name: str = "a", forward: Forward | None = THERE, **others: Any) -> Task:
    return Task(name=name, type="scripted", forward=forward, **others)


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


def test_a_cancel_reaches_a_runner_that_is_silent_when_it_is_back() -> None:
    world = World(lambda id: Script(duration=1000.0))
    world.submit(task())
    world.pass_time(1)
    world.links["there"].breaks()
    world.engine.cancel("g")
    world.pass_time(25)
    assert (world.result().status, world.result().kill) == (Status.ABORTED, {"confirmed": False})
    assert world.engine.status("g") is Status.ABORTED
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert world.peers["there"].in_flight == frozenset()
    (late,) = world.events(Kind.LATE_RESULT)
    assert late.fields["status"] == "aborted"


@pytest.mark.parametrize("seconds", [5.0, 20.0])
def test_a_broken_link_is_no_failure(seconds: float) -> None:
    world = World(lambda id: Script(duration=seconds))
    world.submit(task("a"), task("b", None, depends_on=("a",)))
    world.pass_time(1)
    world.links["there"].breaks()
    world.pass_time(10)
    assert world.result().status is Status.RUNNING
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert {world.result(name).status for name in "ab"} == {Status.SUCCESS}
    told = world.events(Kind.PEER_LOST, Kind.PEER_BACK)
    lost, back = [(kind, "a", {"runner": "there"}) for kind in (Kind.PEER_LOST, Kind.PEER_BACK)]
    # Of one that has ended meanwhile the end is told.
    assert [(event.kind, event.task, event.fields) for event in told] == ([lost, back] if seconds > 11 else [lost])
    assert world.peers["there"].starts[("there-1", AttemptId("g", "a", 1))] == 1


def test_the_loss_of_a_runner_concerns_those_alone_that_are_there() -> None:
    world = World(lambda id: Script(duration=5.0))
    world.submit(task("a"), task("b", Forward(to="yonder")), task("c", None), task("d", depends_on=("c",)))
    world.pass_time(1)
    world.links["there"].breaks()
    world.pass_time(0.1)
    assert [event.task for event in world.events(Kind.PEER_LOST)] == ["a"]


@pytest.mark.parametrize("listed", [False, True])
def test_an_attempt_whose_runner_is_lost_is_tried_again_only_if_that_is_listed(listed: bool) -> None:
    world = World(lambda id: Script(duration=40.0 if id.attempt == 1 else 1.0, on_stop=OnStop.FINISHES, stop_after=0.2))
    on = frozenset({"failed", "errored", *(["runner_lost"] if listed else [])})
    world.submit(task(retry=Retry(attempts=2, delay=1.0, on=on)))
    world.pass_time(1)
    world.links["there"].breaks()
    world.pass_time(LOST_AFTER + 5)
    end = world.result()
    if listed:
        assert (end.status, end.waiting) == (Status.PENDING, Waiting.PEER_UNREACHABLE)
    else:
        assert (end.status, end.reason, end.attempts) == (Status.ERRORED, "runner_lost", 1)
        assert world.engine.status("g") is Status.ERRORED
    (attempt,) = [row for row in _attempts(world) if row.attempt == 1]
    assert attempt.cancel_at is not None  # what still runs there is not wanted any more
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    (late,) = world.events(Kind.LATE_RESULT)
    assert (late.task, late.attempt, late.fields["status"]) == ("a", 1, "success")
    assert world.result().attempts == (2 if listed else 1)
    assert world.result().status is (Status.SUCCESS if listed else Status.ERRORED)
    assert world.peers["there"].unacknowledged == frozenset()
    assert world.engine.forget("g")  # nothing of it may report any more


def _attempts(world: World) -> Sequence[Any]:
    record = world.store.group("g")
    assert record is not None
    return record.attempts


def test_a_runner_that_is_lost_after_its_attempt_was_given_up_says_nothing_new() -> None:
    world = World(lambda id: Script(duration=1000.0))
    world.submit(task())
    world.pass_time(1)
    world.links["there"].breaks()
    world.engine.cancel("g")
    world.pass_time(LOST_AFTER + 5)
    assert world.events(Kind.LATE_RESULT) == []
    world.links["there"].comes_back()
    world.clock.run_until_idle()
    assert [event.fields["status"] for event in world.events(Kind.LATE_RESULT)] == ["aborted"]


def test_a_node_that_drains_does_not_wait_for_what_others_carry_out() -> None:
    world = World(lambda id: Script(duration=1000.0 if id.task in "ab" else 5.0), slots=1)
    world.submit(
        task("a"), task("b"), task("c", None), task("d", depends_on=("c",)), task("e", None, depends_on=("c",))
    )
    world.pass_time(1)
    rested: list[str] = []
    world.engine.rest(lambda: rested.append("now"))
    world.pass_time(1)
    assert rested == []
    world.pass_time(10)
    assert rested == ["now"]
    assert world.result("a").status is Status.RUNNING
    assert {world.result(name).waiting for name in "de"} == {Waiting.SLOT}
    world.restart()
    world.clock.run_until_idle()
    assert world.engine.status("g") is Status.SUCCESS
    assert world.result("d").runner == "there"
    assert set(world.peers["there"].starts.values()) == {1}


def test_the_next_life_counts_no_slots_for_what_is_away() -> None:
    world = World(lambda id: Script(duration=50.0), slots=2)
    world.submit(task("a"), task("b", None), task("c", None), task("d", None))
    world.pass_time(1)
    world.restart()
    world.pass_time(1)
    assert (world.engine.load.taken, world.engine.load.waiting) == (2, 1)
    assert world.peers["there"].in_flight == {AttemptId("g", "a", 1)}
    world.clock.run_until_idle()
    assert world.engine.status("g") is Status.SUCCESS
    assert world.engine.load.taken == 0
    assert {*world.here.starts.values(), *world.peers["there"].starts.values()} == {1}


def test_each_executor_is_told_what_of_it_is_still_wanted() -> None:
    world = World(lambda id: Script(duration=50.0))
    world.submit(task("a"), task("b", Forward(to="yonder")), task("c", None))
    world.pass_time(1)
    wanted = {name: executor.in_flight for name, executor in world.peers.items()}
    world.restart()
    world.pass_time(1)
    assert {name: executor.in_flight for name, executor in world.peers.items()} == wanted
    assert world.here.in_flight == {AttemptId("g", "c", 1)}


def test_what_a_former_life_has_left_at_a_peer_is_ended() -> None:
    world = World(lambda id: Script(duration=1000.0, on_stop=OnStop.SILENT, stop_after=500.0))
    world.submit(task())
    world.pass_time(1)
    world.engine.cancel("g")
    world.pass_time(25)  # it was given up
    assert world.peers["there"].in_flight == {AttemptId("g", "a", 1)}
    world.restart()
    world.pass_time(1)
    assert world.peers["there"].in_flight == frozenset()


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
