"""Random scenarios whose groups have concurrency keys, by seed: of the plain ones every fifth, so that the others stay what they are. And what
must hold of such groups in any world."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from random import Random

from msgspec.structs import replace

from runner.model.event import Event, Kind
from runner.model.group import Concurrency
from runner.simulator.scenario import Scenario, Submission
from runner.simulator.scenarios import GRID_SECONDS, another_submission, scripts
from runner.simulator.world import Played
from runner.store.base import GroupRow

EVERY = 5
FEWEST_GROUPS, MOST_GROUPS = 2, 5
MOST_TASKS = 6

Span = tuple[float, float]


def with_keys(seed: int, scenario: Scenario) -> Scenario:
    """Its groups have concurrency keys, and there are some."""
    return scenario if seed % EVERY != 3 else keyed(seed, scenario)


def keyed(seed: int, scenario: Scenario) -> Scenario:
    """The scenario with some more groups, most of which have a key, and one caller."""
    random = Random(f"keys of {seed}")
    grid = GRID_SECONDS if scenario.ties else 0.0
    submissions, known = list(scenario.submissions), dict(scenario.scripts)
    for number in range(len(submissions), random.randint(FEWEST_GROUPS, MOST_GROUPS)):
        another = another_submission(random, grid, f"g{number}", MOST_TASKS)
        submissions.append(another)
        for task in another.group.tasks:
            known |= scripts(random, grid, another.id, task)
    one_caller = random.random() < 0.7
    replacing = random.choice([0.0, 0.0, 0.3, 1.0])
    keyed = tuple(_keyed(random, item, replacing, one_caller=one_caller) for item in submissions)
    slots = sum(len(item.group.tasks) for item in keyed) if random.random() < 0.7 else scenario.max_parallel
    return replace(scenario, submissions=keyed, scripts=known, max_parallel=slots)


def _keyed(random: Random, item: Submission, replacing: float, *, one_caller: bool) -> Submission:
    key = random.choice(["a", "a", "a", "{{ .labels.team }}"])
    concurrency = Concurrency(key=key, cancel_previous=random.random() < replacing)
    group = replace(item.group, concurrency=concurrency if random.random() < 0.9 else None)
    return replace(item, group=group, caller="ann" if one_caller else item.caller)


def differences(scenario: Scenario, played: Played) -> Iterator[str]:
    lanes: dict[tuple[str, str], list[Submission]] = {}
    for item in scenario.submissions:
        if item.lane is not None and item.id in played.records and item.group.forward is None:
            lanes.setdefault(item.lane, []).append(item)
    for lane in lanes.values():
        ordered = sorted(lane, key=lambda item: played.records[item.id].group.accepted.wall)
        for former, later in itertools.combinations(ordered, 2):
            yield from _apart(former, later, played)
        for item in ordered:
            yield from _told(item, [other.id for other in ordered if other is not item], played)


def _apart(former: Submission, later: Submission, played: Played) -> Iterator[str]:
    """One at a time, in the order in which they were accepted, which is not known of those that were so at one instant."""
    first, second = played.records[former.id].group, played.records[later.id].group
    tied = first.accepted.wall == second.accepted.wall
    spans = [span(played.events[item.id]) for item in (former, later)]
    if not (_is_before(*spans) or (tied and _is_before(*reversed(spans)))):
        yield f"{former.id} and {later.id} with the same key ran at once, or in the wrong order: {spans}"
    if later.replaces and not tied and (first.finished_at or 0.0) > second.accepted.wall and first.abort is None:
        yield f"{former.id} was not ended by {later.id}, which came meanwhile"


def _is_before(one: Span | None, other: Span | None) -> bool:
    """Or one of them has no attempt."""
    return one is None or other is None or one[1] <= other[0]


def span(events: Sequence[Event]) -> Span | None:
    """From the first attempt of a group to its end; None where there was none."""
    begin = next((event.at for event in events if event.kind is Kind.TASK_DISPATCHED), None)
    end = next((event.at for event in events if event.kind is Kind.GROUP_FINISHED), None)
    return None if begin is None or end is None else (begin, end)


def _told(item: Submission, others: Sequence[str], played: Played) -> Iterator[str]:
    """For whom it waited, and who took its place, is told as it was."""
    row, events = played.records[item.id].group, played.events[item.id]
    waits = [event for event in events if event.kind is Kind.GROUP_WAITING]
    yield from (
        f"{item.id} waited for {event.fields['waits_for']}"
        for event in waits
        if event.fields["waits_for"] not in others
    )
    kinds = [
        event.kind for event in events if event.kind in (Kind.GROUP_WAITING, Kind.GROUP_READY, Kind.TASK_DISPATCHED)
    ]
    if waits and Kind.TASK_DISPATCHED in kinds and kinds.index(Kind.TASK_DISPATCHED) != len(waits) + 1:
        yield f"{item.id} waited and began without a turn, or waited again: {kinds}"
    if row.replaced_by is not None and row.replaced_by not in others:
        yield f"{item.id} was replaced by {row.replaced_by}"
    yield from _rested(item, row)


def _rested(item: Submission, row: GroupRow) -> Iterator[str]:
    if row.waits_for is None and row.rests_since is not None:
        yield f"{item.id} does not wait, and its timeout still rests"
