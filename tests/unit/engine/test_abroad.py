"""Attempts that other runners carry out: what becomes of them when their runner, or this one, is lost, and how they are stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from runner.dispatch.remote import RemoteDispatcher
from runner.engine.engine import Engine
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.load import Load
from runner.model.result import Status, Waiting
from runner.model.session import Begin, ExecutorHello, FromOrigin, Submit
from runner.model.task import Forward, Retry
from runner.peers import Own, Peers
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import OnStop, Script
from tests.unit.engine.world import LOST_AFTER, Watched, World, task


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


class Types:
    types = frozenset({"scripted"})

    def trouble(self, type: str) -> str | None:
        return None


def test_a_peer_is_greeted_with_what_a_former_life_has_handed_to_it_however_slow_the_disk_is() -> None:
    """It ends what is not named."""
    clock = VirtualClock()
    store, sealer = Watched(clock.call_soon), Sealer.ephemeral()

    def life() -> tuple[Engine, RemoteDispatcher]:
        here = ScriptedExecutor(clock, lambda id: Script())
        logs = MemoryLogStore(call_soon=clock.call_soon)
        peer = RemoteDispatcher("there", node="n", own_name="local", clock=clock, logs=logs, lost_after=LOST_AFTER)
        own = Own(dispatcher=here, types=Types(), labels=dict, load=lambda: Load(slots=1, taken=0, waiting=0))
        engine = Engine(
            store=store, clock=clock, dispatcher=here, targets=Peers(own, [peer]), sealer=sealer, max_parallel=1
        )
        engine.recover()
        return engine, peer

    told: list[FromOrigin] = []
    hello = ExecutorHello(
        node="t", name="there", instance="there-1", types=Types.types,
        load=Load(slots=1, taken=0, waiting=0),
    )  # fmt: skip
    engine, peer = life()
    peer.connected(hello, told.append)
    engine.submit(TaskGroup(id="g", name="deploy", tasks=(task(),)))
    clock.run_until(clock.now().boot + 1)
    assert [message.dispatch.id for message in told if isinstance(message, Submit)] == [AttemptId("g", "a", 1)]
    engine.close()
    syncs: list[Callable[[Exception | None], None]] = []
    store.hold = syncs.append
    again: list[FromOrigin] = []
    engine, peer = life()
    peer.when_ready(lambda: peer.connected(hello, again.append))
    clock.run_until(clock.now().boot + 5)
    assert again == []
    while syncs:
        syncs.pop(0)(None)
        clock.run_until(clock.now().boot + 1)
    assert again[0] == Begin(live=(AttemptId("g", "a", 1),))
