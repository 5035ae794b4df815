"""A group without its tasks, as lists show it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runner.model.result import Status


class GroupSummary(Struct, frozen=True, kw_only=True):
    """Times in seconds since the epoch. `counts` tells how many tasks have which status, where that was asked for. `concurrency` and what
    follows it are as in `TaskGroupResult`."""

    id: str
    name: str
    status: Status
    reason: str | None = None
    labels: Mapping[str, str] = {}
    caller: str = ""
    accepted_at: float
    started_at: float | None = None
    finished_at: float | None = None
    counts: Mapping[Status, int] = {}
    concurrency: str = ""
    waits_for: str | None = None
    replaced_by: str | None = None
    paused_by: str | None = None
