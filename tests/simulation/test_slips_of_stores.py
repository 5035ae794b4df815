"""Stores with one slip each: the simulator must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.simulator.scenario import CrashAt
from runner.store.base import Batch, TaskRow
from tests.simulation.slips import assert_noticed, events_recorded, recording, tasks_recorded, verdict_of


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda row: replace(row, reason="no_data") if row.reason else row, "reason is 'no_data'"),
        (lambda row: replace(row, because_of="c") if row.because_of else row, "because_of is 'c'"),
        (lambda row: replace(row, attempt=2) if row.attempt else row, "attempts is 2, expected 1"),
        (lambda row: replace(row, exit_code=0) if row.exit_code else row, "exit_code is 0, expected 1"),
        (lambda row: replace(row, waiting="slot"), "waiting is"),
        (lambda row: replace(row, finished_at=row.finished_at and row.finished_at + 1), "+1.000000 s off"),
        (lambda row: replace(row, started_at=row.started_at and row.started_at - 1), "-1.000000 s off"),
        (lambda row: replace(row, status=Status.FAILED) if row.status is Status.SKIPPED else row, "status is 'failed'"),
    ],
)
def test_a_wrong_task_row(slip: Callable[[TaskRow], TaskRow], words: str) -> None:
    assert_noticed(verdict_of("a chain whose first fails", tasks_recorded(slip)), words)


def test_lost_outputs() -> None:
    verdict = verdict_of("a diamond with data", tasks_recorded(lambda row: replace(row, outputs=None)))
    assert_noticed(verdict, "g/a: recorded outputs is {}")


def test_other_outputs_after_a_crash() -> None:
    changed = tasks_recorded(lambda row: replace(row, outputs=b'{"x":{"text":"other"}}') if row.outputs else row)
    verdict = verdict_of("a diamond with data", changed, CrashAt(step=14))
    assert_noticed(verdict, "g/b/1 was submitted again with different content")


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (
            lambda event: replace(event, kind=Kind.TASK_READY) if event.kind is Kind.TASK_DISPATCHED else event,
            "events tell",
        ),
        (lambda event: replace(event, fields={**event.fields, "status": "aborted"}), "events tell that a ended"),
        (
            lambda event: replace(event, fields={**event.fields, "status": "errored"}),
            "events tell that the group ended",
        ),
        (lambda event: replace(event, fields={**event.fields, "text": "hush-sesame"}), "tells a confidential value"),
    ],
)
def test_a_wrong_event(slip: Callable[[Event], Event], words: str) -> None:
    assert_noticed(verdict_of("a chain whose first fails", events_recorded(slip)), words)


def test_an_effect_before_its_record() -> None:
    class Late:
        """Keeps every batch back until the next one."""

        def __init__(self) -> None:
            self.kept = Batch()

        def __call__(self, batch: Batch) -> Batch:
            copy = Batch(list(batch.groups), list(batch.tasks), list(batch.attempts), list(batch.events))
            late, self.kept = self.kept, copy
            return late

    assert_noticed(verdict_of("one task", recording(Late())), "was dispatched before that was recorded")


def test_a_pause_that_is_not_written_down_is_noticed() -> None:
    forgets = recording(lambda batch: replace(batch, attempts=[replace(row, paused=False) for row in batch.attempts]))
    assert_noticed(verdict_of("paused, and its time stands still", forgets), "to pause before that was recorded")
