"""What must be true of two runners when all is over, whatever went wrong between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from runner.engine import guests
from runner.model import codec
from runner.model.dispatch import WHOLE, AttemptId
from runner.model.event import Kind
from runner.model.log import STREAMS
from runner.model.result import Outcome, Reason, Status
from runner.simulator import lanes
from runner.simulator.pair.executor import ORIGIN
from runner.simulator.pair.world import PlayedPair
from runner.simulator.reference import CONFIRM_SECONDS, GRACE_SECONDS, Reference
from runner.simulator.replay import replay
from runner.simulator.rules import ANYWHERE
from runner.simulator.scenario import PEER, Scenario, Submission
from runner.simulator.script import OnStop
from runner.simulator.verify import GIVEN_UP, TOLERANCE_SECONDS, compared, consistent
from runner.store.base import AttemptRow

MOMENT_SECONDS = 1e-3
STOP_SECONDS = GRACE_SECONDS + CONFIRM_SECONDS + 5.0
"""So long at most may run on what the origin does not count on any more, once the line is there."""
HEARD_SECONDS = GRACE_SECONDS + 3.0
"""After so long what was to be stopped has stopped, and has said so."""
SLOW_SECONDS = 0.1
"""Where messages take so long, one behind the other, an end may come too late although nothing goes wrong."""


def differences(scenario: Scenario, played: PlayedPair) -> list[str]:
    """Everything that is not as it should be, in words; empty when all is well."""
    if not played.ended:
        return [*played.origin.complaints, *_endless(scenario, played)]
    return [
        *played.origin.complaints,
        *_stories(played),
        *_groups(scenario, played),
        *_starts(scenario, played),
        *_attempts(scenario, played),
        *_given_up(scenario, played),
        *_told(played),
        *_left_over(scenario, played),
        *_turns(played),
    ]


def _endless(scenario: Scenario, played: PlayedPair) -> Iterator[str]:
    for item in scenario.submissions:
        record = played.origin.records.get(item.id)
        if record is None:
            yield f"{item.id}: the group was never accepted"
        elif not record.group.status.terminal:
            rest = [
                f"{row.name} is {row.status}, waits for {row.waiting}"
                for row in record.tasks
                if not row.status.terminal
            ]
            yield f"{item.id}: does not end: {'; '.join(rest)}"


def _stories(played: PlayedPair) -> Iterator[str]:
    """Events are numbered, and tell what the rows say, on both sides."""
    alone = played.origin
    for id, record in alone.records.items():
        yield from (f"{id}: {text}" for text in replay(record, alone.events[id]))
    store = played.executor.disk.store
    for guest, attempt in played.executor.guests.items():
        there = store.group(guest.group)
        if there is not None and there.group.status.terminal:
            yield from (f"guest {attempt}: {text}" for text in replay(there, store.events(guest.group, 0, 1_000_000)))


def _groups(scenario: Scenario, played: PlayedPair) -> Iterator[str]:
    faults = played.faults
    ended = [row for record in played.origin.records.values() for row in record.attempts if row.outcome is not None]
    lost = any(_outcome(row).reason == Reason.RUNNER_LOST for row in ended)
    certain = not (lost or faults.executor_power or faults.origin_power)
    reference = Reference(scenario).play() if certain else None
    for item in scenario.submissions:
        if reference is not None and not scenario.is_disturbed(item):
            yield from compared(reference.groups[item.id], played.origin, times=False)
        else:
            yield from consistent(scenario, item, played.origin)
        yield from _in_time(item, played)


def _in_time(item: Submission, played: PlayedPair) -> Iterator[str]:
    """An abort takes no longer than it may, whatever becomes of the line and of the executor."""
    record = played.origin.records[item.id]
    row = record.group
    latest = math.inf if item.group.timeout is None else row.accepted.wall + item.group.timeout + row.rested
    carrier = next((attempt for attempt in record.attempts if attempt.task == WHOLE), None)
    # What the runner of a group ends by itself is over when that is heard.
    began = row.abort_at if carrier is None or carrier.runner != PEER else carrier.cancel_at
    if began is not None:
        latest = min(latest, began.wall)
    latest += item.group.cleanup_timeout + GRACE_SECONDS + CONFIRM_SECONDS + played.faults.origin_delay
    if row.finished_at is None or row.finished_at > latest + TOLERANCE_SECONDS:
        yield f"{item.id}: ended at {row.finished_at}, expected not after {latest}"


def _starts(scenario: Scenario, played: PlayedPair) -> Iterator[str]:
    """Every attempt was started once at most: anew only where its runner had lost its power, and had not told the start."""
    here, guests = played.node.runs.starts, played.executor.guests
    there: Counter[tuple[str, AttemptId]] = Counter()
    for (life, guest), count in played.executor.runs.starts.items():
        there[life, guests[guest]] += count
    lives: dict[AttemptId, list[str]] = {}
    for (life, id), count in there.items():
        lives.setdefault(id, []).append(life)
        if count > 1:
            yield f"{id} was started {count} times by {life}"
    for id, those in lives.items():
        if any(attempt == id for _, attempt in here):
            yield f"{id} was started both here and there"
        told = played.executor.told_starts.get(id, those[-1])
        if told != those[-1]:
            yield f"{id} was started again by {those[-1]}, after its start by {told} had been told"
        for before, after in pairwise(those):
            if played.executor.is_restored_between(before, after):
                yield f"{id} was started by {before}, and again by {after} after that had been restored from a backup"
    for (life, id), count in here.items():
        if count > 1:
            yield f"{id} was started {count} times by {life}"
    forwards = {
        (item.id, task.name): item.group.forward or task.forward
        for item in scenario.submissions
        for task in item.group.tasks
    }
    for row in _all_rows(played):
        forward = forwards[row.group, row.task]
        if (row.runner == PEER) != (forward is not None) and forward != ANYWHERE:
            yield f"{_id(row)} ran on {row.runner}, and is forwarded to {forward}"


def _attempts(scenario: Scenario, played: PlayedPair) -> Iterator[str]:
    """What the origin says of each is what the executor said, or what it may say by itself."""
    ends, starts = played.executor.ends, Counter(id for _, id in played.executor.runs.starts)
    carriers = {row.group: row for record in played.origin.records.values() for row in record.attempts if not row.task}
    late = Counter(
        (event.group, event.task, event.attempt)
        for events in played.origin.events.values()
        for event in events
        if event.kind is Kind.LATE_RESULT
    )
    for row in _rows(played):
        id, outcome = _id(row), _outcome(row)
        guest = played.executor.known_as[id]
        started = starts[guest]
        # Of a group that was forwarded as a whole an origin has the times of attempts from events, all but those of the last.
        timed = row.group not in carriers
        is_told = any(_is_what(outcome, end, timed=timed) for end in ends.get(id, ()))
        if is_told and not timed and outcome.kill == GIVEN_UP:
            yield from _logs(played, id, guest, whole=False)  # its executor had nobody's word for it either
        elif outcome.kill == GIVEN_UP:
            if carriers.get(row.group, row).cancel_at is None:
                yield f"{id}: nobody confirmed its end, and nobody asked for it"
            yield from _logs(played, id, guest, whole=False)
        elif outcome.reason == Reason.RUNNER_LOST:
            if not played.faults.restores and not _was_silent(scenario, played, row):
                yield f"{id}: was given up, and its runner was not silent for so long"
            yield from _logs(played, id, guest, whole=False)
        elif _unheard(outcome) and id not in ends:
            if started:
                yield f"{id}: was ended here as if it had never been sent, and was started there"
        else:
            if not is_told:
                there = " or ".join(str(_essence(end)) for end in ends.get(id, ())) or "nothing"
                yield f"{id}: is {_essence(outcome)} here, and there {there}"
            if outcome.started_at is not None and not started:
                yield f"{id}: has started at {outcome.started_at}, and was not started there"
            if late[id]:
                yield f"{id}: a late result of what was heard in time"
            # What was printed before a loss of power that took the start with it is of an attempt that nobody knows.
            forgotten = played.faults.executor_power and outcome.started_at is None
            yield from _logs(played, id, guest, whole=not (played.faults.restores or forgotten))
        if late[id] > 1:
            yield f"{id}: {late[id]} late results"


def _given_up(scenario: Scenario, played: PlayedPair) -> Iterator[str]:
    """What the origin does not count on any more does not run on for long once the line is back, whether its group is over or not."""
    faults = played.faults
    if faults.latency >= SLOW_SECONDS or faults.stalls or faults.executor_full or faults.restores:
        return
    wholes = {item.id for item in scenario.submissions if item.group.forward is not None}
    for row in _rows(played):
        id, outcome = _id(row), _outcome(row)
        if outcome.kill != GIVEN_UP and outcome.reason != Reason.RUNNER_LOST:
            continue
        if id.group in wholes:
            pass  # it has time for its clean-up, which is counted in _in_time
        elif (
            outcome.kill == GIVEN_UP and row.cancel_at is not None and scenario.script(id).on_stop is not OnStop.SILENT
        ):
            heard = _in_contact(played, row.cancel_at.wall, outcome.finished_at or 0.0)
            if heard > HEARD_SECONDS:
                yield f"{id}: was given up, and could have said for {heard:.3f} s that it stopped"
        ends = [end.finished_at for end in played.executor.ends.get(id, ()) if end.finished_at is not None]
        assert outcome.finished_at is not None, "what ends an attempt says when"
        for contact in played.node.contacts:
            begin = max(contact.begin, outcome.finished_at)
            if contact.end > begin + STOP_SECONDS and ends and ends[-1] > begin + STOP_SECONDS:
                if scenario.script(id).on_stop is not OnStop.SILENT:
                    yield f"{id}: was given up, and ran on there for {ends[-1] - begin:.3f} s in which the line was there"
                break


def _in_contact(played: PlayedPair, begin: float, end: float) -> float:
    """For how long up to `end` the line was there without a break, no farther back than `begin`."""
    for contact in played.node.contacts:
        if contact.begin < end <= contact.end:
            return end - max(begin, contact.begin)
    return 0.0


def _told(played: PlayedPair) -> Iterator[str]:
    """An end that was told is not forgotten by who has told it."""
    if played.faults.restores:
        return
    store = played.executor.disk.store
    for id in played.executor.told_ends:
        record = store.group(ORIGIN.id(id))
        if record is None or not record.group.status.terminal:
            yield f"{id}: its end was told, and is not known there any more"


def _logs(played: PlayedPair, id: AttemptId, guest: AttemptId, *, whole: bool) -> Iterator[str]:
    for stream in STREAMS:
        here, there = played.node.logs.read(id, stream), played.executor.logs.read(guest, stream)
        if here != there and (whole or len(here.splitlines()) > len(there.splitlines())):
            yield f"{id}: its log here is {here!r}, and there {there!r}"


def _left_over(scenario: Scenario, played: PlayedPair) -> Iterator[str]:
    """All groups have been over for a while, and the line was there."""
    executor = played.executor
    store = executor.disk.store
    unfinished = set(store.unfinished())
    for guest, id in executor.guests.items():
        if guest.group in unfinished:
            yield f"{id} is not over there, and its group is"
        if guest in executor.runs.in_flight and scenario.script(id).on_stop is not OnStop.SILENT:
            yield f"{id} still runs there when all is over"
    for id in sorted(executor.runs.unacknowledged):
        yield f"the end of {executor.guests[id]} was never acknowledged there"
    for id in sorted(played.node.runs.unacknowledged):
        yield f"the end of {id} was never acknowledged here"
    for id in sorted(played.node.runs.in_flight):
        if scenario.script(id).on_stop is not OnStop.SILENT:
            yield f"{id} still runs here when all is over"


def _was_silent(scenario: Scenario, played: PlayedPair, row: AttemptRow) -> bool:
    """Whether there was no contact for so long as it takes to give an attempt up, just before that."""
    end = _outcome(row).finished_at
    assert end is not None, "what ends an attempt says when"
    begin = end - scenario.lost_after + MOMENT_SECONDS
    return not any(it.begin < end - MOMENT_SECONDS and it.noticed > begin for it in played.node.contacts)


def _unheard(outcome: Outcome) -> bool:
    return outcome.status is Status.ABORTED and outcome.started_at is None


def _all_rows(played: PlayedPair) -> Iterator[AttemptRow]:
    """Of tasks."""
    for record in played.origin.records.values():
        yield from (row for row in record.attempts if row.task != WHOLE)


def _rows(played: PlayedPair) -> Iterator[AttemptRow]:
    """Of the attempts that were forwarded."""
    return (row for row in _all_rows(played) if row.runner == PEER and row.outcome is not None)


def _id(row: AttemptRow) -> AttemptId:
    return AttemptId(row.group, row.task, row.attempt)


def _outcome(row: AttemptRow) -> Outcome:
    assert row.outcome is not None, "it is over"
    return codec.decode_outcome(row.outcome)


def _is_what(outcome: Outcome, end: Outcome, *, timed: bool) -> bool:
    """Whether an outcome here is the end that was recorded there. Why something was aborted is the origin's affair."""
    if outcome.status is Status.ABORTED:
        return end.status is Status.ABORTED and (not timed or outcome.started_at == end.started_at)
    return _essence(outcome)[: None if timed else -2] == _essence(end)[: None if timed else -2]


def _essence(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.status.value,
        outcome.reason,
        outcome.exit_code,
        outcome.signal,
        outcome.started_at,
        outcome.finished_at,
    )


def _turns(played: PlayedPair) -> Iterator[str]:
    """Of the groups that the executor was given as a whole those of one key had their turn one at a time."""
    store = played.executor.disk.store
    spans: dict[tuple[str, str], list[tuple[lanes.Span, str]]] = {}
    for guest in played.executor.guests:
        there = store.group(guest.group)
        span = None if there is None else lanes.span(store.events(guest.group, 0, 1_000_000))
        if there is not None and there.group.concurrency and span is not None:
            whose = there.group.labels.get(guests.ON_BEHALF_OF, "")
            spans.setdefault((whose, there.group.concurrency), []).append((span, guest.group))
    for lane in spans.values():
        for (one, former), (other, later) in pairwise(sorted(set(lane))):
            if other[0] < one[1]:
                yield f"{former} and {later} with the same key were carried out at once: {one}, {other}"
