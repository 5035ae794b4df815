"""Takes a backup of a state directory, whether a node works on it or not.

The database is copied as it is at one moment. Logs come behind it: what is in the database to have ended has its whole log. Whatever
goes meanwhile because it is old is not missed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from runner import __version__, sealing
from runner.backup.archive import Heading, Writer
from runner.clock import rfc3339
from runner.errors import UsageError
from runner.logs.framing import FILE_HEADER
from runner.store import snapshot
from runner.store.retirement import DATABASE

LOGS, RUNS, TOKENS, KEY, NODE, CONFIGURATION = "logs", "runs", "tokens", "key", "node", "runner.toml"


class Taken(Struct, frozen=True, kw_only=True):
    files: int
    bytes: int
    runs: int
    with_key: bool


def take(state_dir: Path, target: BinaryIO, *, with_key: bool, now: float, scratch: Path | None = None) -> Taken:
    """Write a backup of `state_dir` to `target`. `now` in seconds since the epoch; `scratch` is a folder with room for a copy of the
    database, by default the one for temporary files. Raises UsageError, StoreError, SealError and OSError."""
    if not (state_dir / DATABASE).is_file() and not (state_dir / RUNS).is_dir():
        raise UsageError(f"{state_dir} holds no state of a runner: give the right --state-dir")
    if sealing.former_key(state_dir / KEY).exists():
        raise UsageError(f"the key of {state_dir} is being replaced: let `runner secrets rotate` come to its end first")
    key = sealing.read_key(state_dir / KEY) if (state_dir / KEY).exists() else None
    heading = Heading(
        version=__version__,
        taken_at=rfc3339(now),
        node=_text(state_dir / NODE),
        key=None if key is None else sealing.Sealer(key).key_id,
        with_key=with_key and key is not None,
    )
    with tempfile.TemporaryDirectory(prefix=".runner-backup-", dir=scratch) as private:
        writer = Writer(target, heading)
        taken = _Taking(writer, state_dir, Path(private))
        if heading.with_key:
            writer.add(KEY, state_dir / KEY)
        writer.add(CONFIGURATION, state_dir / CONFIGURATION)
        for path in _entries(state_dir / TOKENS, ".json"):
            writer.add(f"{TOKENS}/{path.name}", path)
        taken.state("")
        runs = sum(taken.state(f"{RUNS}/{run.name}/") for run in _entries(state_dir / RUNS) if run.name[:1] != ".")
        writer.finish()
    return Taken(files=writer.files, bytes=writer.bytes, runs=runs, with_key=heading.with_key)


class _Taking:
    def __init__(self, writer: Writer, state_dir: Path, private: Path) -> None:
        self._writer = writer
        self._state_dir = state_dir
        self._copy = private / DATABASE

    def state(self, place: str) -> bool:
        """The database and the logs that are there; False where there are none."""
        try:
            snapshot.take(self._state_dir / f"{place}{DATABASE}", self._copy)
        except FileNotFoundError:
            return False
        self._writer.add(f"{place}{DATABASE}", self._copy)
        self._copy.unlink()
        for group in _entries(self._state_dir / f"{place}{LOGS}"):
            if group.name[:1] != ".":
                for log in _entries(group, ".log"):
                    self._writer.add(f"{place}{LOGS}/{group.name}/{log.name}", log, head=len(FILE_HEADER))
        return True


def _entries(folder: Path, suffix: str = "") -> Iterator[Path]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.endswith(suffix):
            yield folder / name


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
