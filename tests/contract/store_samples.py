"""Rows and events for tests of stores, and a loop that runs nothing by itself."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from runner.clock import Moment
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.store.base import AttemptRow, GroupRow, Store, TaskRow

MOMENT = Moment(wall=1_700_000_000.123456, boot=0.1 + 0.2, boot_id="0e8d1b5e-0b86-4a5e-8a0e-3f1d52c0ffee")
LATER = Moment(wall=1_700_000_060.5, boot=60.25, boot_id="another boot")
WAIT_SECONDS = 20.0


class Calls:
    """Callbacks that other threads or the store itself asked for, run when the test says so."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._queue.put(callback)

    def run_until(self, reached: Callable[[], bool]) -> None:
        """Run callbacks as they come. Raises queue.Empty when none comes for long."""
        while not reached():
            self._queue.get(timeout=WAIT_SECONDS)()


def synced(store: Store, calls: Calls) -> Exception | None:
    """Ask for one `sync` and wait for its answer."""
    answers: list[Exception | None] = []
    store.sync(answers.append)
    calls.run_until(lambda: bool(answers))
    return answers[0]


def group(id: str = "g", **changes: Any) -> GroupRow:
    row = GroupRow(
        id=id,
        public_id=id,
        caller="me",
        name="name",
        digest="d1",
        document=b'{"a":1}',
        inputs=b"\x00\xff",
        accepted=MOMENT,
    )
    return replace(row, **changes)


def task(name: str = "t", group: str = "g", **changes: Any) -> TaskRow:
    return replace(TaskRow(group=group, name=name, index=0, status=Status.PENDING), **changes)


def attempt(task: str = "t", number: int = 1, group: str = "g", **changes: Any) -> AttemptRow:
    row = AttemptRow(
        group=group, task=task, attempt=number, status=Status.RUNNING, runner="local", instance="i1", dispatched=MOMENT
    )
    return replace(row, **changes)


def event(number: int, group: str = "g", **changes: Any) -> Event:
    return replace(Event(group=group, number=number, at=1_700_000_000.5, kind=Kind.TASK_READY), **changes)


FULL_GROUP = group(
    labels={"team": "web", "ümlaut": "✓ \u0000"},
    workspace="/w s/ü",
    status=Status.ABORTED,
    reason="cancelled",
    started_at=1.25,
    finished_at=2.5,
    abort="cancelled",
    abort_because_of="t",
    abort_at=LATER,
    abort_count=2,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
FULL_TASK = task(
    index=7,
    status=Status.FAILED,
    waiting="retry_delay",
    reason="timeout",
    because_of="u",
    attempt=3,
    cached=True,
    outputs=b'{"a":"\xc3\xbc"}',
    exit_code=124,
    signal=15,
    error="line\nNUL \u0000 🎉",
    kill=b"{}",
    runner="onprem-1",
    started_at=0.1,
    finished_at=1e300,
    retry_at=LATER,
)
FULL_ATTEMPT = attempt(
    status=Status.ERRORED,
    handle=b"\x00handle",
    sequence=(1 << 63) - 1,
    started_at=0.0,
    finished_at=-1.5,
    cancel_at=LATER,
    cancel_grace=0.0,
    paused=True,
    outcome=b"{}",
)
FULL_EVENT = event(
    1,
    kind=Kind.KILL_REPORT,
    task="t",
    attempt=2,
    fields={
        "signals": ["TERM", "KILL"],
        "survivors": 0,
        "deep": {"ü": None, "f": 0.1, "b": True},
        "text": "\udcff\u0000",
    },
)
