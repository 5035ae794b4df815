"""What is told of a group that is over."""

from __future__ import annotations

import msgspec

from runner.clock import rfc3339
from runner.engine.library import Library
from runner.errors import GroupNotFoundError, SealError
from runner.store.base import GroupHead

TYPE = "group.finished"
MOST_TASKS = 1000
"""Of larger groups no outputs are told."""
MOST_OUTPUT_BYTES = 256 << 10

_encode = msgspec.json.Encoder(order="deterministic").encode


def body(head: GroupHead, library: Library, *, node: str, node_id: str) -> bytes:
    """As JSON. Outputs that are confidential are left out; all outputs where they are too many."""
    row = head.group
    times = {"accepted_at": row.accepted.wall, "started_at": row.started_at, "finished_at": row.finished_at}
    group = {
        "id": row.public_id,
        "name": row.name,
        "caller": row.caller,
        "status": row.status.value,
        "reason": row.reason,
        "labels": dict(row.labels),
        **{name: None if at is None else rfc3339(at) for name, at in times.items()},
        "tasks": {status.value: count for status, count in library.counts(head).items() if count},
        "outputs": _outputs(head, library),
    }
    data = {"node": node, "node_id": node_id, "group": group}
    return _encode({"type": TYPE, "timestamp": group["finished_at"], "data": data})


def _outputs(head: GroupHead, library: Library) -> dict[str, dict[str, str]] | None:
    if head.group.task_count > MOST_TASKS:
        return None
    try:
        tasks = library.page(head, 0, MOST_TASKS).tasks
    except (SealError, GroupNotFoundError):
        return None
    outputs = {
        task.name: shown
        for task in tasks
        if (shown := {name: value.text for name, value in task.outputs.items() if not value.confidential})
    }
    size = sum(len(name) + len(text) for shown in outputs.values() for name, text in shown.items())
    return outputs if size <= MOST_OUTPUT_BYTES else None
