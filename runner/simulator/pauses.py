"""Random scenarios whose groups stand still when a task has failed, by seed: of the plain ones every sixth, so that the others stay what they are.
And what is said then, for each attempt always the same; and what must hold of such groups in any world."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.model.dispatch import CONTINUE, RETRY, AttemptId
from runner.model.event import Event, Kind
from runner.simulator.scenario import Scenario, Submission
from runner.simulator.scenarios import GRID_SECONDS, scripts

if TYPE_CHECKING:
    from runner.simulator.world import Played

EVERY = 6
MOST_RETRIES = 2
"""Beside those that a task has of its own."""
LONGEST_SECONDS = 12.0


def with_pauses(seed: int, scenario: Scenario) -> Scenario:
    """Some of its groups stand still on failure."""
    return scenario if seed % EVERY != 4 else pausing(seed, scenario)


def pausing(seed: int, scenario: Scenario) -> Scenario:
    """The scenario, most of whose groups stand still on failure; and what is tried once more has a part."""
    random = Random(f"pauses of {seed}")
    grid = GRID_SECONDS if scenario.ties else 0.0
    submissions = tuple(
        replace(item, pauses=item.group.forward is None and random.random() < 0.8) for item in scenario.submissions
    )
    known = dict(scenario.scripts)
    for item in submissions:
        for task in item.group.tasks if item.pauses else ():
            more = replace(task, retry=replace(task.retry, attempts=task.retry.attempts + MOST_RETRIES))
            known = {**scripts(random, grid, item.id, more), **known}
    return replace(scenario, submissions=submissions, scripts=known)


def decision(submission: Submission, id: AttemptId) -> tuple[float, str]:
    """How long after its failure somebody says what follows, and what: in seconds."""
    digest = hashlib.sha256(f"decision on {id}".encode()).digest()
    own = next(task.retry.attempts for task in submission.group.tasks if task.name == id.task)
    again = digest[0] < 128 and id.attempt < own + MOST_RETRIES
    return LONGEST_SECONDS * int.from_bytes(digest[1:5], "big") / 2**32, RETRY if again else CONTINUE


def differences(scenario: Scenario, played: Played) -> Iterator[str]:
    """What begins in a group while it stands still, beside what somebody has tried once more."""
    for item in scenario.submissions:
        if item.id in played.events:
            yield from (f"{item.id}: {text}" for text in _begun(item, played.events[item.id]))


_FOLLOWING = (Kind.TASK_DISPATCHED, Kind.TASK_WAITING, Kind.TASK_FINISHED)
"""What is told of a task once somebody has said what follows from its failure; it waits where the runner that it is forwarded to is away."""


def _begun(item: Submission, events: Sequence[Event]) -> Iterator[str]:
    held: set[str | None] = set()
    chosen: set[str | None] = set()
    for _, group in itertools.groupby(events, key=lambda event: event.at):
        at_once = list(group)
        # Of what happens at one instant a decision comes first: nothing tells of it but what follows.
        decided = {event.task for event in at_once if event.kind in _FOLLOWING} & held
        chosen |= decided
        held -= decided
        for event in at_once:
            if event.kind is Kind.TASK_HELD:
                held.add(event.task)
                chosen.discard(event.task)
                if not item.pauses:
                    yield f"{event.task} is held, and nobody wanted that"
            elif event.kind is Kind.CANCEL_REQUESTED:
                held.clear()
            elif event.kind is Kind.TASK_DISPATCHED and held and event.task not in chosen:
                yield f"{event.task} began while the group stood still for {', '.join(map(str, held))}"
