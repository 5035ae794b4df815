"""Random scenarios with random faults. `python -m runner.simulator --seeds 0:10000` plays many more of them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runner.model.event import Kind
from runner.simulator.__main__ import main
from runner.simulator.forwarded import forwarded, random_outages
from runner.simulator.rules import ANYWHERE, BY_INPUT, BY_LABELS, BY_NO_LABELS, NOWHERE, TO_PEER
from runner.simulator.scenarios import random_faults, random_scenario
from runner.simulator.seeds import play_seed

CHUNK = 50


@pytest.mark.parametrize("first", range(0, 300, CHUNK))
def test_seeds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        verdict = play_seed(seed)
        assert verdict.differences == (), f"seed {seed}\n{verdict}"


@pytest.mark.parametrize("seed", [2206, 2314, 3346, 4738])
def test_what_stands_still_while_a_matrix_or_a_peer_has_its_say(seed: int) -> None:
    verdict = play_seed(seed)
    assert verdict.differences == (), verdict


def test_a_seed_is_always_the_same() -> None:
    first, second = play_seed(11), play_seed(11)
    assert (first.scenario, first.faults, first.played.steps) == (second.scenario, second.faults, second.played.steps)
    assert random_scenario(11) != random_scenario(12)


def test_seeds_are_of_all_kinds() -> None:
    """What the other tests rely on: the generator has not lost a kind of trouble."""
    faults = [random_faults(seed, 100, 60.0) for seed in range(300)]
    assert any(crash.power_loss for item in faults for crash in item.crashes)
    assert any(crash.downtime and not crash.power_loss for item in faults for crash in item.crashes)
    assert any(item.full_disk for item in faults)
    assert {len(item.crashes) for item in faults} == {0, 1, 2, 3, 4, 5}
    scenarios = [random_scenario(seed) for seed in range(300)]
    submissions = [item for scenario in scenarios for item in scenario.submissions]
    assert {len(scenario.submissions) for scenario in scenarios} == {1, 2, 3, 4}
    assert {len(item.cancels) for item in submissions} == {0, 1, 2, 3}
    assert {len(item.group.tasks) for item in submissions} >= set(range(1, 25))
    assert any(item.group.fail_fast and item.group.timeout for item in submissions)
    assert {item.signal for submission in submissions for item in submission.signals} == {"pause", "start", "destroy"}
    assert {item.caller for item in submissions} == {"ann", "bob", "cid"}
    tied = [item for item in scenarios if item.ties]
    assert any(
        len({(part.at, part.group.timeout) for part in item.submissions}) < len(item.submissions) for item in tied
    )
    assert any(item.slots_matter and len(item.submissions) > 1 and not item.ties for item in scenarios)


def test_seeds_with_another_runner_are_of_all_kinds() -> None:
    """And those without are what they were."""
    scenarios = [(seed, forwarded(seed, random_scenario(seed))) for seed in range(150)]
    assert all(scenario == random_scenario(seed) for seed, scenario in scenarios if seed % 3 != 1)
    assert 40 <= sum(scenario.forwards for _, scenario in scenarios) <= 50
    tasks = [task for _, scenario in scenarios for item in scenario.submissions for task in item.group.tasks]
    ways = (TO_PEER, BY_INPUT, BY_LABELS, ANYWHERE, NOWHERE, BY_NO_LABELS)
    assert all(any(task.forward == way for task in tasks) for way in ways)
    assert any(task.forward is not None and "runner_lost" in task.retry.on for task in tasks)
    outages = [random_outages(seed, 60.0) for seed in range(100)]
    assert {len(item) for item in outages} == {0, 1, 2, 3, 5}
    assert all(end < start for item in outages for (_, end), (start, _) in pairwise(item))
    assert any(end - start > 60.0 for item in outages for start, end in item)
    lost = [
        event
        for seed in range(1, 150, 3)
        for events in play_seed(seed).played.events.values()
        for event in events
        if event.kind in (Kind.TASK_WAITING, Kind.PEER_LOST, Kind.PEER_BACK, Kind.LATE_RESULT)
    ]
    assert {event.kind for event in lost} == {Kind.TASK_WAITING, Kind.PEER_LOST, Kind.PEER_BACK, Kind.LATE_RESULT}


def test_the_command_tells_what_was_played(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:2"]) == 0
    assert capsys.readouterr().out.startswith("2 seeds, ")
    assert main(["--seed", "0", "--verbose"]) == 0
    assert "group_finished" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "x", "3:x", "5:5", "5:2"])
def test_the_command_refuses_what_is_no_span(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--seeds", text])
    assert stopped.value.code == 2
    assert "--seeds" in capsys.readouterr().err
