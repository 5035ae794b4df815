"""Random scenarios in which another runner has a part, by seed: of the plain ones every third, so that the others stay what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from runner.model.task import NO_RETRY, Forward, Task
from runner.simulator.rules import ANYWHERE, BY_INPUT, BY_LABELS, BY_NO_LABELS, NOWHERE, TO_PEER
from runner.simulator.scenario import Scenario, Submission

EVERY = 3
Ways = Sequence[tuple[Forward, int]]
"""How tasks are forwarded, each with its weight."""

_WAYS: Ways = ((TO_PEER, 60), (BY_INPUT, 12), (BY_LABELS, 14), (ANYWHERE, 8), (NOWHERE, 3), (BY_NO_LABELS, 3))

_WHOLE_WAYS = (TO_PEER, TO_PEER, TO_PEER, BY_LABELS, ANYWHERE)


def forwarded(seed: int, scenario: Scenario) -> Scenario:
    """Some tasks, or all, go to the other runner; of those that are tried again some also when that was lost."""
    return scenario if seed % EVERY != 1 else forwarding(seed, scenario, _WAYS)


def forwarding(seed: int, scenario: Scenario, ways: Ways) -> Scenario:
    """The scenario, some of whose tasks go to the other runner."""
    random = Random(f"forwarded of {seed}")
    share = random.choice([0.2, 0.5, 0.8, 1.0])
    lost_after = random.choice([5.0, 20.0, 60.0])
    submissions = tuple(_submission(random, share, item, ways) for item in scenario.submissions)
    return replace(scenario, submissions=submissions, lost_after=lost_after)


def forwarding_whole(seed: int, scenario: Scenario) -> Scenario:
    """The scenario, some of whose groups go to the other runner as a whole, or all."""
    random = Random(f"whole of {seed}")
    share = random.choice([0.3, 0.7, 1.0])
    submissions = tuple(
        _whole(item, random.choice(_WHOLE_WAYS)) if random.random() < share else item for item in scenario.submissions
    )
    return replace(scenario, submissions=submissions)


def random_outages(seed: int, seconds: float) -> tuple[tuple[float, float], ...]:
    """Spans during which the other runner cannot be reached, in a world that takes `seconds` when all goes well: short ones mostly,
    one in four so long that what it carries out is given up."""
    random = Random(f"outages of {seed}")
    outages: list[tuple[float, float]] = []
    at = random.choice([0.0, random.uniform(0, seconds)])
    for _ in range(random.choice([0, 1, 1, 2, 3, 5])):
        length = random.uniform(5, 90) if random.random() < 0.25 else math.exp(random.gauss(0, 1))
        outages.append((at, at + length))
        at += length + math.exp(random.gauss(0, 1.5))
    return tuple(outages)


def _whole(submission: Submission, forward: Forward) -> Submission:
    tasks = tuple(replace(task, forward=None) for task in submission.group.tasks)
    return replace(submission, group=replace(submission.group, forward=forward, tasks=tasks))


def _submission(random: Random, share: float, submission: Submission, ways: Ways) -> Submission:
    tasks = tuple(
        _task(random, task, ways) if random.random() < share and not task.joins else task
        for task in submission.group.tasks
    )
    return replace(submission, group=replace(submission.group, tasks=tasks))


def _task(random: Random, task: Task, ways: Ways) -> Task:
    forward: Forward = random.choices([way for way, _ in ways], [weight for _, weight in ways])[0]
    retry = task.retry
    if retry is not NO_RETRY and random.random() < 0.5:
        retry = replace(retry, on=retry.on | {"runner_lost"})
    return replace(task, forward=forward, retry=retry)
