"""A valid group, with its matrices as the tasks that they stand for."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from runner.model import codec, matrix
from runner.model.fault import Faults
from runner.model.group import TaskGroup
from runner.model.limits import Limits
from runner.model.parse import Parsed
from runner.model.task import Task


def expanded(parsed: Parsed) -> TaskGroup:
    """To be called where nothing is wrong with it."""
    return replace(parsed.group, tasks=tuple(_tasks(parsed))) if parsed.matrices else parsed.group


def check_size(faults: Faults, parsed: Parsed, limits: Limits) -> None:
    """Each instance is kept as if it had been written by itself: add a fault where they are larger together than a document may be."""
    left = limits.document_bytes
    for index, cells in parsed.matrices.items():
        size = len(codec.encode_task(parsed.group.tasks[index])) * len(cells.values)
        size += sum(len(name) + len(text) for values in cells.values for name, text in values.items())
        left -= size
        if left < 0:
            message = (
                f"its instances are written down one by one, which takes {size:,} bytes, and {limits.document_bytes:,} is the limit "
                "of all such"
            )
            hint = "what is long in the task can be a file in the workspace"
            faults.add((*parsed.tasks, index, "matrix"), message, hint=hint)
            return


def _tasks(parsed: Parsed) -> Iterator[Task]:
    for index, task in enumerate(parsed.group.tasks):
        cells = parsed.matrices.get(index)
        if cells is None:
            yield task
        else:
            yield from matrix.expanded(task, *cells)
