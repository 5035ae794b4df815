"""What somebody says from beside to a run that stands still because a task has failed: a file in its folder, which the run takes away."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

FOLDER = "decisions"


class Decision(Struct, frozen=True, kw_only=True):
    """What is to follow from the failure of the task: `retry` or `continue`."""

    task: str
    decision: str


def leave(folder: Path, decision: Decision) -> Path:
    """Leave it for the run that is kept in `folder`; the file, which is gone once it was taken. Raises OSError."""
    box = folder / FOLDER
    box.mkdir(mode=0o700, exist_ok=True)
    name = secrets.token_hex(8)
    unfinished = box / f".{name}"
    unfinished.write_bytes(msgspec.json.encode(decision))
    left = box / name
    os.replace(unfinished, left)
    return left


def take(folder: Path) -> Iterator[Decision]:
    """All that was left for the run that is kept in `folder`, each once."""
    try:
        left = sorted(path for path in (folder / FOLDER).iterdir() if not path.name.startswith("."))
    except OSError:
        return
    for path in left:
        try:
            decision = msgspec.json.decode(path.read_bytes(), type=Decision)
        except (OSError, msgspec.DecodeError):
            decision = None
        path.unlink(missing_ok=True)
        if decision is not None:
            yield decision
