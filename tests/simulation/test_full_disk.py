"""While nothing can be written nothing is begun; what runs can be stopped all the same, and whoever waits is told in time."""

from __future__ import annotations

import pytest

from runner.model.result import Reason, Status
from runner.model.task import When
from runner.simulator.reference import CONFIRM_SECONDS, GRACE_SECONDS
from runner.simulator.scenario import CrashAt, Faults
from runner.simulator.script import OnStop
from runner.simulator.seeds import Verdict, play
from tests.simulation.scenes import SCENES, Scene, scene, spell, takes, task

FULL_UNTIL = 200.0
CANCELLED_AT = 2.0

scenes = pytest.mark.parametrize("scene", [pytest.param(scene, id=name) for name, scene in SCENES.items()])


def while_full(item: Scene, since: float = 1.0) -> Verdict:
    verdict = play(item.scenario, Faults(full_disk=((since, FULL_UNTIL),)))
    assert verdict.differences == (), verdict
    return verdict


def told_after(verdict: Verdict) -> float:
    """Seconds from the cancel until whoever waits was told of the end."""
    return round(verdict.played.told["g"] - verdict.played.began - CANCELLED_AT, 2)


def test_what_runs_is_stopped() -> None:
    item = scene("", task("a"), task("b", "a"), scripts={"a": takes(90.0)}, cancels=[CANCELLED_AT])
    verdict = while_full(item)
    result = verdict.played.results["g"]
    assert spell(result) == "a=aborted:cancelled b=skipped:group_aborted group=aborted:cancelled"
    assert result.results["a"].kill == {"signals": [["SIGTERM", 0.0]], "containment": "scripted", "survivors": 0}
    assert told_after(verdict) == 0.05


def test_what_says_nothing_is_given_up_in_time() -> None:
    item = scene("", task("a"), scripts={"a": takes(90.0, on_stop=OnStop.SILENT, stop_after=90.0)}, cancels=[2.0])
    assert told_after(while_full(item)) == GRACE_SECONDS + CONFIRM_SECONDS


def test_clean_up_is_not_begun_and_waited_for_as_long_as_it_may_take() -> None:
    item = scene(
        "",
        task("a"),
        task("b", "a", when=When.ALWAYS),
        scripts={"a": takes(90.0)},
        cancels=[CANCELLED_AT],
        cleanup_timeout=40.0,
    )
    verdict = while_full(item)
    assert spell(verdict.played.results["g"]) == (
        "a=aborted:cancelled b=aborted:cleanup_timeout group=aborted:cancelled"
    )
    assert told_after(verdict) == 40.0
    assert [id.task for _, id in verdict.played.executor.starts] == ["a"]


def test_clean_up_is_begun_once_there_is_space() -> None:
    item = scene(
        "", task("a"), task("b", "a", when=When.ALWAYS), scripts={"a": takes(90.0)}, cancels=[2.0], cleanup_timeout=40.0
    )
    verdict = play(item.scenario, Faults(full_disk=((1.0, 30.0),)))
    assert verdict.differences == (), verdict
    assert spell(verdict.played.results["g"]) == "a=aborted:cancelled b=success group=aborted:cancelled"


def test_a_second_cancel_ends_the_wait_for_clean_up() -> None:
    item = scene("", task("a"), task("b", when=When.ALWAYS), scripts={"a": takes(90.0)}, cancels=[2.0, 5.0], slots=1)
    assert told_after(while_full(item)) == 3.0


def test_a_cancel_ends_the_wait_for_an_end_that_cannot_be_written() -> None:
    item = scene("", task("a"), scripts={"a": takes(0.7)}, cancels=[CANCELLED_AT])
    verdict = while_full(item)
    assert spell(verdict.played.results["g"]) == "a=success group=success"
    assert told_after(verdict) == 0.0


def test_an_end_that_cannot_be_written_is_told_in_the_end() -> None:
    item = scene("", task("a"), scripts={"a": takes(0.7)})
    verdict = while_full(item)
    assert 60.0 <= verdict.played.told["g"] - verdict.played.began - 1.21 <= 61.0


@scenes
@pytest.mark.parametrize("since", [0.6, 1.7, 2.6])
def test_every_scene(scene: Scene, since: float) -> None:
    verdict = while_full(scene, since)
    assert verdict.played.results["g"].reason is not Reason.STATE_NOT_WRITTEN
    assert verdict.played.results["g"].status is not Status.RUNNING


@scenes
@pytest.mark.parametrize("downtime", [0.0, 8.0])
def test_a_crash_at_any_step_while_the_disk_is_full(scene: Scene, downtime: float) -> None:
    full = ((1.7, 30.0),)
    steps = play(scene.scenario, Faults(full_disk=full)).played.steps
    for step in range(0, steps, 2 if downtime == 0.0 else 5):
        faults = Faults(full_disk=full, crashes=(CrashAt(step=step, downtime=downtime),))
        verdict = play(scene.scenario, faults)
        assert verdict.differences == (), verdict
