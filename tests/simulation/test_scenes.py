"""Every scene, left alone, with a crash at every single step, and with a loss of power at every single step."""

from __future__ import annotations

import pytest

from runner.simulator.scenario import CrashAt, Faults
from runner.simulator.seeds import play
from tests.simulation.scenes import SCENES, Scene, spell

scenes = pytest.mark.parametrize("scene", [pytest.param(scene, id=name) for name, scene in SCENES.items()])


@scenes
def test_left_alone(scene: Scene) -> None:
    verdict = play(scene.scenario)
    assert spell(verdict.played.results["g"]) == scene.expected
    assert verdict.differences == (), verdict


@scenes
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_every_step_changes_nothing(scene: Scene, after: bool) -> None:
    steps = play(scene.scenario).played.steps
    assert steps > 5
    for step in range(steps):
        verdict = play(scene.scenario, Faults(crashes=(CrashAt(step=step, after=after),)))
        assert verdict.played.crashes == 1
        assert spell(verdict.played.results["g"]) == scene.expected, verdict
        assert verdict.differences == (), verdict


@scenes
def test_a_second_crash_while_the_first_is_recovered_from_changes_nothing(scene: Scene) -> None:
    steps = play(scene.scenario).played.steps
    for step in range(steps):
        crashes = tuple(CrashAt(step=step + more) for more in range(3))
        verdict = play(scene.scenario, Faults(crashes=crashes))
        assert spell(verdict.played.results["g"]) == scene.expected, verdict
        assert verdict.differences == (), verdict


@scenes
def test_nothing_that_was_acknowledged_is_lost_with_the_power(scene: Scene) -> None:
    steps = play(scene.scenario).played.steps
    for step in range(steps):
        crash = CrashAt(step=step, power_loss=True, downtime=33.0)
        verdict = play(scene.scenario, Faults(crashes=(crash,)))
        assert verdict.differences == (), verdict
        for id in verdict.played.interrupted:
            if id.attempt == verdict.played.results["g"].results[id.task].attempts:
                assert verdict.played.results["g"].results[id.task].reason == "host_restarted", verdict


@scenes
def test_what_ends_while_the_engine_is_down_is_heard_of(scene: Scene) -> None:
    steps = play(scene.scenario).played.steps
    for step in range(0, steps, 2):
        verdict = play(scene.scenario, Faults(crashes=(CrashAt(step=step, downtime=26.0),)))
        assert verdict.differences == (), verdict
