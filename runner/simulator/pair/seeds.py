"""Plays one seed of two runners: the scenario left alone, then with its faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from runner.model.dispatch import AttemptId
from runner.model.result import Status
from runner.model.task import Task
from runner.model.value import Value
from runner.simulator.forwarded import Ways, forwarding, forwarding_whole
from runner.simulator.lanes import keyed
from runner.simulator.matrices import with_matrices
from runner.simulator.pair.faults import BACK, NO_PAIR_FAULTS, THERE, Cut, PairFaults, Restore, Span
from runner.simulator.pair.verify import differences
from runner.simulator.pair.world import PairWorld, PlayedPair
from runner.simulator.rules import ANYWHERE, BY_INPUT, BY_LABELS, NOWHERE, TO_PEER
from runner.simulator.scenario import NO_FAULTS, SECRET_MARK, CrashAt, Scenario
from runner.simulator.scenarios import random_scenario
from runner.simulator.script import Script
from runner.simulator.words import describe

_WAYS: Ways = ((TO_PEER, 65), (BY_INPUT, 8), (BY_LABELS, 17), (ANYWHERE, 8), (NOWHERE, 2))
_EVERY_WHOLE = 3
"""In every third seed some groups are forwarded as a whole."""

_EVERY_KEYED = 2 * _EVERY_WHOLE
"""In half of them groups have concurrency keys."""

Worlds = Callable[..., PairWorld]


class PairVerdict(Struct, frozen=True, kw_only=True):
    """`differences` is empty when all is well; `faults` are those of the run that it speaks of, `played` that run."""

    scenario: Scenario
    slots: int
    faults: PairFaults
    played: PlayedPair
    differences: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.slots} slots there, given up after {self.scenario.lost_after:.3f}", *self.faults.words()]
        return "\n".join([*lines, *describe(self.scenario, NO_FAULTS), *(f"! {text}" for text in self.differences)])


def play_pair(
    scenario: Scenario, faults: PairFaults = NO_PAIR_FAULTS, *, slots: int = 4, make: Worlds = PairWorld, **more: Any
) -> PairVerdict:
    played = make(scenario, slots, faults, **more).play()
    return PairVerdict(
        scenario=scenario, slots=slots, faults=faults, played=played, differences=tuple(differences(scenario, played))
    )


def play_pair_seed(seed: int) -> PairVerdict:
    """The first run of the seed that is not as it should be, else the last."""
    scenario = pair_scenario(seed)
    random = Random(f"pair of {seed}")
    slots = random.choice((1, 2, 4, 30))
    latency = random.choice((0.0001, 0.002, 0.05, 0.5))
    alone = play_pair(scenario, PairFaults(latency=latency, chance=seed), slots=slots)
    if alone.differences:
        return alone
    return play_pair(scenario, pair_faults(random, alone.played, scenario.lost_after), slots=slots)


def pair_scenario(seed: int) -> Scenario:
    scenario = with_matrices(seed, random_scenario(seed))
    if seed % _EVERY_KEYED == 1:
        scenario = keyed(seed, scenario)
    scenario = forwarding(seed, scenario, _WAYS)
    if seed % _EVERY_WHOLE == 1:
        scenario = forwarding_whole(seed, scenario)
    tasks = {(item.id, task.name): task for item in scenario.submissions for task in item.group.tasks}
    scripts = {id: _honest(script, scenario, tasks[id.group, id.task], id) for id, script in scenario.scripts.items()}
    return replace(scenario, scripts=scripts)


def _is_forwarded(scenario: Scenario, id: AttemptId, task: Task) -> bool:
    return task.forward is not None or any(
        item.group.forward is not None for item in scenario.submissions if item.id == id.group
    )


def _honest(script: Script, scenario: Scenario, task: Task, id: AttemptId) -> Script:
    """No dispatcher says of a task that it succeeded when it has not exported what it was to, and no origin believes it."""
    outcome = script.outcome
    if not _is_forwarded(scenario, id, task) or outcome.status is not Status.SUCCESS:
        return script
    mark = {True: SECRET_MARK, False: ""}
    given = {item.name: Value(f"{mark[item.confidential]}of {id}", item.confidential) for item in task.exports}
    return replace(script, outcome=replace(outcome, outputs={**given, **outcome.outputs}))


def pair_faults(random: Random, alone: PlayedPair, lost_after: float) -> PairFaults:
    """What goes wrong in a world that was played alone: of every kind none, some or much."""
    return replace(
        alone.faults,
        origin=_crashes(random, alone.node.fate.steps),
        executor=_restored(random, _crashes(random, alone.executor.fate.steps)),
        cuts=_cuts(random, dict(zip((THERE, BACK), alone.messages, strict=True)), lost_after),
        outages=_spans(random, alone.seconds, lost_after) if random.random() < 0.4 else (),
        stalls=_spans(random, alone.seconds, lost_after) if random.random() < 0.25 else (),
        origin_full=_spans(random, alone.seconds, 0.0)[:1] if random.random() < 0.06 else (),
        executor_full=_spans(random, alone.seconds, 0.0)[:1] if random.random() < 0.06 else (),
    )


def _crashes(random: Random, steps: int) -> tuple[CrashAt, ...]:
    count = min(steps, random.choice((0, 0, 1, 1, 2, 3, 5)))
    places = sorted(random.sample(range(steps), count))
    if places and random.random() < 0.3:
        places.append(places[-1] + random.randint(1, 6))  # while the last one is recovered from
    crashes = [
        CrashAt(step=place, after=random.random() < 0.5, downtime=random.choice((0.0, 0.0, _some(random, 3.0))))
        for place in dict.fromkeys(places)
    ]
    if crashes and random.random() < 0.15:
        number = random.randrange(len(crashes))
        crashes[number] = replace(crashes[number], power_loss=True, downtime=_some(random, 10.0))
    return tuple(crashes)


def _restored(random: Random, crashes: tuple[CrashAt, ...]) -> tuple[CrashAt, ...]:
    if not crashes or random.random() > 0.08:
        return crashes
    number = random.randrange(len(crashes))
    crash = crashes[number]
    other = Restore(step=crash.step, after=crash.after, downtime=_some(random, 10.0), kept=random.random())
    return (*crashes[:number], other, *crashes[number + 1 :])


def _cuts(random: Random, messages: dict[str, int], lost_after: float) -> tuple[Cut, ...]:
    cuts = {}
    for _ in range(random.choice((0, 1, 1, 2, 4, 8))):
        direction = random.choice((THERE, BACK))
        message = random.randrange(messages[direction] + 4)
        cuts[direction, message] = Cut(
            direction=direction,
            message=message,
            delivered=random.random() < 0.5,
            down=random.choice((0.0, 0.0, _some(random, 1.0), _some(random, lost_after))),
            lingers=random.choice((0.0, _some(random, 0.1), _some(random, 5.0), _some(random, lost_after))),
            unnoticed=random.choice((0.0, 0.0, _some(random, 0.1), _some(random, 5.0))),
        )
    return tuple(cuts.values())


def _spans(random: Random, seconds: float, lost_after: float) -> tuple[Span, ...]:
    spans: list[Span] = []
    at = random.choice((0.0, random.uniform(0.0, seconds)))
    for _ in range(random.choice((1, 1, 2, 3))):
        long = lost_after and random.random() < 0.3
        length = random.uniform(0.5, 2.5) * lost_after if long else _some(random, 1.0)
        spans.append((at, at + length))
        at += length + _some(random, 3.0)
    return tuple(spans)


def _some(random: Random, typical: float) -> float:
    return typical * math.exp(random.gauss(0, 1))
