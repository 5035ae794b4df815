"""Random scenarios with matrices, by seed: of the plain ones every fourth, so that the others stay what they are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from runner.model.matrix import Matrix, expanded
from runner.model.task import Task, When
from runner.simulator.scenario import Scenario, Signal, Submission
from runner.simulator.scenarios import GRID_SECONDS, scripts

EVERY = 4
MOST_INSTANCES = 6


def with_matrices(seed: int, scenario: Scenario) -> Scenario:
    """Some tasks get a matrix."""
    return scenario if seed % EVERY != 2 else matrixed(seed, scenario)


def matrixed(seed: int, scenario: Scenario) -> Scenario:
    """The scenario, some of whose tasks have a matrix."""
    random = Random(f"matrices of {seed}")
    share = random.choice([0.2, 0.5, 1.0])
    known = dict(scenario.scripts)
    submissions = []
    for item in scenario.submissions:
        instances = {task.name: _instances(random, task) for task in item.group.tasks if random.random() < share}
        for task in (task for tasks in instances.values() for task in tasks if not task.joins):
            known |= scripts(random, GRID_SECONDS if scenario.ties else 0.0, item.id, task)
        submissions.append(_submission(random, item, instances))
    return replace(scenario, submissions=tuple(submissions), scripts=known)


def _submission(random: Random, item: Submission, instances: dict[str, Sequence[Task]]) -> Submission:
    """Signals reach some instance of what they were meant for."""
    tasks = tuple(one for task in item.group.tasks for one in instances.get(task.name, (task,)))
    signals = [
        Signal(at=signal.at, task=random.choice(instances[signal.task]).name, signal=signal.signal)
        if signal.task in instances
        else signal
        for signal in item.signals
    ]
    # Nobody may stay paused for ever.
    last = max((signal.at for signal in signals), default=0.0)
    paused = dict.fromkeys(signal.task for signal in signals if "[" in signal.task)
    signals += [Signal(at=last + number, task=name, signal="start") for number, name in enumerate(paused, start=1)]
    return replace(item, group=replace(item.group, tasks=tasks), signals=tuple(signals))


def _instances(random: Random, task: Task) -> Sequence[Task]:
    """And their join."""
    matrix = Matrix(
        axes={"n": tuple(str(number) for number in range(random.randint(1, MOST_INSTANCES)))},
        max_parallel=random.choice([None, 1, 1, 2, 3]),
        fail_fast=random.random() < 0.5,
    )
    if random.random() < 0.2:
        task = replace(task, condition="{{ .matrix.n " + random.choice(["==", "!="]) + " '1' }}")
    if random.random() < 0.1:
        task = replace(task, when=When.ALWAYS)
    return tuple(expanded(task, matrix, [{"n": value} for value in matrix.axes["n"]]))
