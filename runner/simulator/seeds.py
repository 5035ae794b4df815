"""Plays one seed: the scenario left alone, then with its faults, each compared with the reference."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from runner.simulator.forwarded import forwarded, random_outages
from runner.simulator.lanes import with_keys
from runner.simulator.matrices import with_matrices
from runner.simulator.pauses import with_pauses
from runner.simulator.scenario import NO_FAULTS, Faults, Scenario
from runner.simulator.scenarios import random_faults, random_scenario
from runner.simulator.verify import differences
from runner.simulator.words import describe
from runner.simulator.world import Engines, Played, World, make_engine


class Verdict(Struct, frozen=True, kw_only=True):
    """`differences` is empty when all is well; `faults` are those of the run that it speaks of, `played` that run."""

    scenario: Scenario
    faults: Faults
    played: Played
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*describe(self.scenario, self.faults), *(f"! {text}" for text in self.differences)])


def play(scenario: Scenario, faults: Faults = NO_FAULTS, make: Engines = make_engine) -> Verdict:
    played = World(scenario, faults, make).play()
    return Verdict(scenario=scenario, faults=faults, played=played, differences=tuple(differences(scenario, played)))


def play_seed(seed: int, make: Engines = make_engine) -> Verdict:
    """The first run of the seed that is not as it should be, else the last."""
    scenario = with_pauses(seed, forwarded(seed, with_keys(seed, with_matrices(seed, random_scenario(seed)))))
    alone = play(scenario, NO_FAULTS, make)
    if alone.differences:
        return alone
    faults = random_faults(seed, alone.played.steps, alone.played.seconds)
    if scenario.forwards:
        faults = replace(faults, outages=random_outages(seed, alone.played.seconds))
    return play(scenario, faults, make)
