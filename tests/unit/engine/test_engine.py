"""What random scenarios do not reach: large outputs, pauses, what a dispatch carries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from runner.engine import admission
from runner.engine.engine import GRACE_SECONDS, Engine
from runner.errors import StoreFullError
from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status, Waiting
from runner.model.task import Export, Retry, Scope, Task, When
from runner.model.value import Value
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.base import Batch
from runner.store.memory import MemoryStore

LIMIT = 100
X = (Export(name="x", scope=Scope.GLOBAL),)


class _World:
    """A store and an executor, and one engine after the other."""

    def __init__(self, scripts: Callable[[AttemptId], Script] = lambda id: Script()) -> None:
        self.clock = VirtualClock()
        self.executor = ScriptedExecutor(self.clock, scripts)
        self.store = MemoryStore(self.clock.call_soon)
        self.sealer = Sealer.ephemeral()
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(
            store=self.store,
            clock=self.clock,
            dispatcher=self.executor,
            sealer=self.sealer,
            max_parallel=8,
            max_output_bytes=LIMIT,
        )

    def restart(self) -> None:
        self.engine.close()
        self.executor.disconnect()
        self.engine = self._engine()
        self.engine.recover()

    def submit(self, *tasks: Task) -> str:
        return self.engine.submit(TaskGroup(id="g", name="deploy", tasks=tasks), workspace="/srv/g")

    def pass_time(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)


def test_a_group_that_is_over_at_once_counts_no_more() -> None:
    """Its end comes in one commit with what it is the end of, and nothing of it is left to be confirmed."""
    world = _World()
    id = world.submit(Task(name="a", type="scripted", condition="{{ false }}"))
    world.pass_time(1)
    assert world.engine.status(id) is Status.SUCCESS
    assert (world.engine.active, world.engine.active_of("")) == (0, 0)


def _gives(size: int) -> Script:
    return Script(outcome=Outcome(status=Status.SUCCESS, outputs={"x": Value("v" * (size - 1))}))


def test_outputs_beyond_the_groups_limit_are_refused() -> None:
    parts = {"a": _gives(60), "b": _gives(41), "c": _gives(40)}
    world = _World(lambda id: parts[id.task])
    tasks = [Task(name=name, type="scripted", exports=X, retry=Retry(attempts=3)) for name in parts]
    world.submit(tasks[0], replace(tasks[1], depends_on=("a",)), replace(tasks[2], depends_on=("b",), when=When.ALWAYS))
    world.clock.run_until_idle()
    ends = world.engine.result("g").results
    assert {name: end.status for name, end in ends.items()} == {
        "a": Status.SUCCESS,
        "b": Status.ERRORED,
        "c": Status.SUCCESS,  # what was refused does not count
    }
    assert (ends["b"].reason, ends["b"].outputs, ends["b"].attempts) == ("outputs_too_large", {}, 1)
    assert ends["b"].error is not None
    assert "exceed 100 bytes" in ends["b"].error
    assert "41 bytes" in ends["b"].error


def test_what_was_admitted_before_a_restart_counts_after_it() -> None:
    world = _World(lambda id: _gives(60))
    world.submit(
        Task(name="a", type="scripted", exports=X), Task(name="b", type="scripted", exports=X, depends_on=("a",))
    )
    world.pass_time(0.15)
    assert world.engine.result("g").results["a"].status is Status.SUCCESS
    world.restart()
    world.clock.run_until_idle()
    assert world.engine.result("g").results["b"].reason == "outputs_too_large"


def test_a_task_that_was_stopped_stays_aborted_whatever_it_put_out() -> None:
    part = Script(duration=60.0, stopped=Outcome(status=Status.ABORTED, outputs={"x": Value("v" * LIMIT)}))
    world = _World(lambda id: part)
    world.submit(Task(name="a", type="scripted", exports=X))
    world.pass_time(1.0)
    world.engine.cancel("g")
    world.clock.run_until_idle()
    end = world.engine.result("g").results["a"]
    assert (end.status, end.reason, end.outputs) == (Status.ABORTED, "cancelled", {})


def test_a_paused_task_says_so_until_it_goes_on() -> None:
    world = _World(lambda id: Script(duration=5.0))
    world.submit(Task(name="a", type="scripted"))
    world.pass_time(1.0)
    assert world.engine.signal("g", "a", "pause")
    world.pass_time(30.0)
    paused = world.engine.result("g").results["a"]
    assert (paused.status, paused.waiting) == (Status.RUNNING, Waiting.PAUSED)
    world.restart()
    assert world.engine.result("g").results["a"].waiting is Waiting.PAUSED
    assert world.engine.signal("g", "a", "start")
    world.pass_time(1.0)
    assert world.engine.result("g").results["a"].waiting is None
    world.clock.run_until_idle()
    assert world.engine.status("g") is Status.SUCCESS
    assert not world.engine.signal("g", "a", "pause")


def test_a_pause_is_written_down_before_it_is_passed_on() -> None:
    world = _World(lambda id: Script(start_after=2.0, duration=5.0))
    world.submit(Task(name="a", type="scripted"))
    world.pass_time(1.0)
    seen = []
    signal = world.executor.signal

    def passed_on(id: AttemptId, name: str) -> None:
        record = world.store.group("g")
        assert record is not None
        seen.append((name, record.attempts[0].paused))
        signal(id, name)

    world.executor.signal = passed_on  # type: ignore[assignment, method-assign]  # to look at the store at that moment
    assert world.engine.signal("g", "a", "pause")
    world.clock.run_until(world.clock.now().boot)
    assert seen == [("pause", True)]
    world.restart()
    world.pass_time(20.0)
    assert world.engine.result("g").results["a"].waiting is Waiting.PAUSED, "it had not even started"
    assert world.engine.signal("g", "a", "start")
    world.clock.run_until_idle()
    kinds = [event.kind for event in world.engine.events("g") if event.task == "a"]
    assert kinds.count(Kind.TASK_PAUSED) == kinds.count(Kind.TASK_RESUMED) == 1
    assert world.engine.status("g") is Status.SUCCESS


def test_signals_reach_an_attempt_that_cannot_be_written_down_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(lambda id: Script(duration=5.0))
    world.submit(Task(name="a", type="scripted"), Task(name="b", type="scripted"))

    def full(batch: Batch) -> None:
        raise StoreFullError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "record", full)
        world.pass_time(0.5)
        assert world.engine.signal("g", "a", "pause")
        assert world.engine.signal("g", "b", "destroy")
        world.pass_time(0.1)
        assert not world.executor.starts
    world.clock.run_until_idle()
    results = world.engine.result("g").results
    assert results["a"].waiting is Waiting.PAUSED
    assert results["b"].exit_code == 137


def test_what_is_compared_says_nothing_to_who_has_not_the_key() -> None:
    """Else who can guess what was submitted could see whether it was."""

    group = TaskGroup(id="g", name="", tasks=(Task(name="a", type="scripted"),))
    values = {"pin": Value("4711", True)}
    one, other = Sealer.ephemeral(), Sealer.ephemeral()
    digests = [admission.sealed(group, values, sealer, "g").digest for sealer in (one, one, other)]
    assert digests[0] == digests[1] != digests[2]
    assert codec.digest(codec.encode_group(group), values) not in digests


def test_a_dispatch_carries_what_the_attempt_needs() -> None:
    failed = Script(outcome=Outcome(status=Status.FAILED))
    world = _World(lambda id: failed if id.attempt == 1 else Script())
    world.submit(Task(name="a", type="scripted", retry=Retry(attempts=2)))
    world.clock.run_until_idle()
    second = world.executor.dispatches[AttemptId("g", "a", 2)]
    assert (second.workspace, second.grace, second.resumed) == ("/srv/g", GRACE_SECONDS, False)
    assert (second.bindings.group_id, second.bindings.group_name) == ("g", "deploy")
    assert (second.bindings.task_name, second.bindings.task_attempt) == ("a", 2)


def test_a_group_counts_until_its_end_is_written_and_no_longer() -> None:
    world = _World()
    world.submit(Task(name="a", type="scripted"), Task(name="b", type="scripted", depends_on=("a",)))
    assert (world.engine.active, world.engine.active_of("")) == (1, 1)
    world.clock.run_until_idle()
    assert world.engine.result("g").status is Status.SUCCESS
    assert (world.engine.active, world.engine.active_of("")) == (0, 0)


def test_a_group_whose_end_is_told_together_with_other_events_does_not_count_any_more() -> None:
    told: list[str] = []
    world = _World()
    world.engine.announce(lambda: True, lambda: told.append("end"))
    id = world.submit(Task(name="a", type="os_exec"))
    assert (world.engine.active, world.engine.active_of("")) == (1, 1)
    world.pass_time(60)
    assert world.engine.status(id) is Status.SUCCESS
    assert (world.engine.active, world.engine.active_of("")) == (0, 0)
    assert told == ["end"]
    assert [notice.group for notice in world.store.notices(0.0)] == [id]
    assert world.engine.forget(id)
