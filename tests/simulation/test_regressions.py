"""What the simulator found, each as small as it could be made."""

from __future__ import annotations

from msgspec.structs import replace

from runner.model.result import Status
from runner.model.task import Retry, When
from runner.simulator.scenario import CrashAt, Faults, Scenario
from runner.simulator.script import OnStop
from runner.simulator.seeds import play
from tests.simulation.scenes import FAILED, X, ends, scene, takes, task


def every_crash(scenario: Scenario, **crash: object) -> None:
    steps = play(scenario).played.steps
    for step in range(steps):
        verdict = play(scenario, Faults(crashes=(replace(CrashAt(step=step), **crash),)))
        assert verdict.differences == (), verdict


def test_a_task_aborted_between_attempts_has_the_same_outputs_after_a_crash() -> None:
    """It had those of its failed attempt, but only as long as the engine lived."""
    item = scene(
        "",
        task("a", gives=[X], retry=Retry(attempts=2, delay=5.0)),
        scripts={"a": takes(1.1, ends(FAILED, 4, x="of a failed attempt"))},
        cancels=[2.5],
    )
    assert play(item.scenario).played.results["g"].results["a"].outputs == {}
    every_crash(item.scenario)


def test_an_end_is_heard_although_the_engine_was_down_when_it_was_due() -> None:
    """The attempt stopped in time, but the engine that came back gave it up before it listened."""
    item = scene(
        "",
        task("a"),
        scripts={"a": takes(60.0, on_stop=OnStop.FINISHES, stop_after=5.0)},
        cancels=[2.5],
    )
    steps = play(item.scenario).played.steps
    for step in range(steps):
        verdict = play(item.scenario, Faults(crashes=(CrashAt(step=step, downtime=25.0),)))
        assert verdict.differences == (), verdict
        assert verdict.played.results["g"].results["a"].kill != {"confirmed": False}, verdict


def test_the_dispatch_is_the_same_when_it_is_sent_again() -> None:
    """`retry.on` is a set, and has another order in another process or after it was stored."""
    words = frozenset({"failed", "errored", "host_restarted", "timeout", "driver_error", "7", "8", "9"})
    every_crash(scene("", task("a", retry=Retry(attempts=2, on=words))).scenario)


def test_an_attempt_that_was_given_up_unwritten_is_not_sent() -> None:
    """The disk was full from before the dispatch until after the stop was given up; then both were written, and both done."""
    item = scene(
        "",
        task("a"),
        task("b", "a", when=When.ALWAYS),
        scripts={"a": takes(1.0), "b": takes(60.0, on_stop=OnStop.SILENT)},
        cancels=[3.0, 4.0],
    )
    verdict = play(item.scenario, Faults(full_disk=((1.0, 40.0),)))
    assert verdict.differences == (), verdict
    assert verdict.played.results["g"].results["b"].status is Status.ABORTED
    assert [id.task for _, id in verdict.played.executor.starts] == ["a"]
