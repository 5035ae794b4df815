"""What must hold of tasks that are forwarded: when they wait for the other runner, what they are told of it, and what comes late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.result import Reason, Waiting
from runner.simulator.rules import ANYWHERE
from runner.simulator.scenario import PEER, Scenario
from runner.simulator.script import OnStop
from runner.simulator.world import Played

MOMENT_SECONDS = 1e-4


def differences(scenario: Scenario, played: Played) -> Iterator[str]:
    if not scenario.forwards:
        return
    forwards = {(item.id, task.name): task.forward for item in scenario.submissions for task in item.group.tasks}
    for record in played.records.values():
        for row in record.attempts:
            id, forward = AttemptId(row.group, row.task, row.attempt), forwards[row.group, row.task]
            if (row.runner == PEER) != (forward is not None) and forward != ANYWHERE:
                yield f"{id} ran on {row.runner}, and is forwarded to {forward}"
            yield from _started_once(played, id)
    for group, events in played.events.items():
        for event in events:
            if (
                event.kind is Kind.TASK_DISPATCHED
                and event.fields["runner"] == PEER
                and _outage(played, event.at, inner=True)
            ):
                yield f"{group}: {event.task} was dispatched while nobody could reach its runner"
        may_pause = any(item.pauses for item in scenario.submissions if item.id == group)
        yield from _waits(group, played, events, may_pause=may_pause)
        if not played.crashes:
            yield from _tidings(group, events)
            yield from _late(scenario, played, group)


def _outage(played: Played, wall: float, *, inner: bool = False) -> tuple[float, float] | None:
    """The outage during which that is; `inner`: and not at its edge, where it matters what came first."""
    edge = MOMENT_SECONDS if inner else -MOMENT_SECONDS
    for start, end in played.faults.outages:
        if played.began + start + edge <= wall < played.began + end - edge:
            return played.began + start, played.began + end
    return None


def _started_once(played: Played, id: AttemptId) -> Iterator[str]:
    """Of all runners together; but what ran here when the power was lost is gone, and need not have been written down."""
    here = played.executor.starts[played.executor.instance, id]
    there = played.peer.starts[played.peer.instance, id]
    if there and here:
        yield f"{id} was started both here and there"


def _waits(group: str, played: Played, events: list[Event], *, may_pause: bool) -> Iterator[str]:
    """A task waits for its runner while that is not there, and goes on as soon as it is, unless its group stands still."""
    for number, event in enumerate(events):
        if event.kind is not Kind.TASK_WAITING or event.fields.get("waiting") == Waiting.MATRIX:
            continue
        where = f"{group}/{event.task}"
        outage = _outage(played, event.at)
        if event.fields.get("waiting") != Waiting.PEER_UNREACHABLE or not event.fields.get("why"):
            yield f"{where}: tells that it waits for {dict(event.fields)}"
        if outage is None:
            yield f"{where}: waits for its runner at {event.at - played.began:.3f}, when that was there"
            continue
        after = next((later for later in events[number + 1 :] if later.task == event.task), None)
        if after is None:
            yield f"{where}: waits for its runner for ever"
            continue
        held = sum(end - start for start, end in played.faults.outages)
        allowed = played.faults.delay - held if played.crashes or played.faults.full_disk else 0.0
        if after.kind is Kind.TASK_WAITING and not played.crashes:
            yield f"{where}: tells twice that it waits"
        elif not may_pause and after.at > outage[1] + allowed + MOMENT_SECONDS and not _outage(played, after.at):
            yield f"{where}: waited until {after.at - played.began:.3f}, its runner was back at {outage[1] - played.began:.3f}"


def _tidings(group: str, events: list[Event]) -> Iterator[str]:
    """Of a runner that is lost, then back, then lost: in turns."""
    lost: set[tuple[str | None, int | None]] = set()
    for event in events:
        attempt = event.task, event.attempt
        if event.kind is Kind.PEER_LOST:
            if attempt in lost:
                yield f"{group}/{event.task}: tells twice that its runner is lost"
            lost.add(attempt)
        elif event.kind is Kind.PEER_BACK:
            if attempt not in lost:
                yield f"{group}/{event.task}: tells that its runner is back, which was not lost"
            lost.discard(attempt)


def _late(scenario: Scenario, played: Played, group: str) -> Iterator[str]:
    """An attempt that was given up because its runner was silent, and had started there, is heard of in the end."""
    late = Counter((event.task, event.attempt) for event in played.events[group] if event.kind is Kind.LATE_RESULT)
    for row in played.records[group].attempts:
        id = AttemptId(row.group, row.task, row.attempt)
        if row.outcome is None or codec.decode_outcome(row.outcome).reason != Reason.RUNNER_LOST:
            continue
        began = played.peer.starts[played.peer.instance, id]
        heard = late[row.task, row.attempt]
        if heard > 1 or (began and not heard and scenario.script(id).on_stop is not OnStop.SILENT):
            yield f"{id}: {heard} late results of an attempt that was given up"
