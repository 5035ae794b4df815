"""What a node counts, as Prometheus reads it. docs/operation.md has the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runner.model.event import Event, Kind
from runner.store.base import Batch, GroupRow
from runner.telemetry.base import TypeOf

LAG_SECONDS = 0.25
_FAST = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400)
MOST_WAITING = 200_000
"""Of so many tasks at once it is remembered since when they have waited."""

Sample = tuple[str, str, float]
"""The name of a gauge, what it is, and its value now."""

_COUNTED = {
    Kind.TASK_RETRYING: ("runner_task_retries", "Attempts that were not the last ones of their tasks."),
    Kind.LOG_REDACTED: ("runner_logs_redacted", "Streams of logs in which something was masked afterwards."),
    Kind.LOG_GAP: ("runner_log_gaps", "Logs of which the middle is not kept."),
    Kind.MASK_SKIPPED: ("runner_masks_skipped", "Confidential values that cannot be masked."),
    Kind.CANCEL_REQUESTED: ("runner_cancels", "Groups that were asked to end early, by whatever."),
}


class Prometheus:
    """Implements runner.telemetry.base.Telemetry. `type_of` and `sample` are to be set before anything is told."""

    def __init__(self) -> None:
        self.type_of: TypeOf = lambda group, task: ""
        self.sample: Callable[[], Iterable[Sample]] = tuple
        """What is read when somebody asks."""
        registry = self._registry = CollectorRegistry()
        self._accepted = Counter("runner_groups_accepted", "Groups that were accepted.", registry=registry)
        self._groups = Counter("runner_groups_finished", "Groups that are over.", ["status"], registry=registry)
        self._started = Counter("runner_attempts_started", "Attempts that were started.", ["type"], registry=registry)
        self._tasks = Counter("runner_tasks_finished", "Tasks that are over.", ["type", "status"], registry=registry)
        self._survivors = Counter(
            "runner_survivors", "Processes that outlived the end of their attempts.", registry=registry
        )
        self._counted = {kind: Counter(name, about, registry=registry) for kind, (name, about) in _COUNTED.items()}
        self._wait = Histogram(
            "runner_queue_wait_seconds", "How long tasks waited for a slot.", buckets=_LONG, registry=registry
        )
        self._commits = Histogram("runner_commit_seconds", "Transactions.", buckets=_FAST, registry=registry)
        self._syncs = Histogram("runner_sync_seconds", "Waits for the disk.", buckets=_FAST, registry=registry)
        self._lag = Histogram("runner_loop_lag_seconds", "How late the node is.", buckets=_FAST, registry=registry)
        self._calls = Histogram(
            "runner_rpc_seconds",
            "Calls, streams with all their time.",
            ["method", "code"],
            buckets=_CALLS,
            registry=registry,
        )
        self._ready: dict[tuple[str, str], float] = {}
        registry.register(_Gauges(self))

    def accepted(self, row: GroupRow) -> None:
        self._accepted.inc()

    def recorded(self, batch: Batch, seconds: float) -> None:
        self._commits.observe(seconds)
        for event in batch.events:
            self._event(event)

    def synced(self, seconds: float) -> None:
        self._syncs.observe(seconds)

    def called(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).observe(seconds)

    def _event(self, event: Event) -> None:
        kind, task = event.kind, event.task or ""
        if kind in self._counted:
            self._counted[kind].inc()
        elif kind is Kind.GROUP_FINISHED:
            self._groups.labels(str(event.fields["status"])).inc()
        elif kind is Kind.TASK_READY and len(self._ready) < MOST_WAITING:
            self._ready[event.group, task] = event.at
        elif kind is Kind.TASK_DISPATCHED:
            self._wait.observe(max(0.0, event.at - self._ready.pop((event.group, task), event.at)))
        elif kind is Kind.TASK_STARTED:
            self._started.labels(self.type_of(event.group, task)).inc()
        elif kind is Kind.TASK_FINISHED:
            self._tasks.labels(self.type_of(event.group, task), str(event.fields["status"])).inc()
            self._ready.pop((event.group, task), None)
        elif kind is Kind.TASK_SKIPPED:
            self._tasks.labels(self.type_of(event.group, task), "skipped").inc()
            self._ready.pop((event.group, task), None)
        elif kind is Kind.KILL_REPORT:
            self._survivors.inc(int(event.fields.get("survivors") or 0))

    async def measure_lag(self) -> None:
        """How much later than it should the loop comes to something. For ever."""
        now = asyncio.get_running_loop().time
        while True:
            due = now() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(0.0, now() - due))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, owner: Prometheus) -> None:
        self._owner = owner

    def collect(self) -> Iterable[Metric]:
        for name, about, value in self._owner.sample():
            # What only grows is called so.
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name, about, value=value)
