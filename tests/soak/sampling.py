"""What a node and its supervisor have of the machine, sampled each second."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

EVERY_SECONDS = 1.0
LOGS_EVERY_SECONDS = 15.0
"""Logs are many files: to look at all of them takes a while."""
_MIB = 1 << 20


class Sample(Struct, frozen=True, kw_only=True):
    """`at` is in seconds since the beginning; memory and files are in MiB."""

    at: float
    node_memory: float
    supervisor_memory: float
    node_descriptors: int
    supervisor_descriptors: int
    node_threads: int
    in_flight: int
    finished: int
    database: float
    write_ahead_log: float
    logs: float


class Sampler:
    """`counts` gives how many groups are in flight, and how many are over."""

    def __init__(self, state: Path, node: int, supervisor: int, counts: Callable[[], tuple[int, int]]) -> None:
        self.samples: list[Sample] = []
        self._state = state
        self._node = node
        self._supervisor = supervisor
        self._counts = counts
        self._began = time.monotonic()
        self._logs = 0.0
        self._logs_at = -LOGS_EVERY_SECONDS

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.samples.append(await asyncio.to_thread(self._sample))
            await asyncio.sleep(EVERY_SECONDS)

    def _sample(self) -> Sample:
        at = time.monotonic() - self._began
        if at - self._logs_at >= LOGS_EVERY_SECONDS:
            self._logs, self._logs_at = _bytes_below(self._state / "logs") / _MIB, at
        in_flight, finished = self._counts()
        return Sample(
            at=at,
            node_memory=memory(self._node),
            supervisor_memory=memory(self._supervisor),
            node_descriptors=len(os.listdir(f"/proc/{self._node}/fd")),
            supervisor_descriptors=len(os.listdir(f"/proc/{self._supervisor}/fd")),
            node_threads=len(os.listdir(f"/proc/{self._node}/task")),
            in_flight=in_flight,
            finished=finished,
            database=_size(self._state / "state.db"),
            write_ahead_log=_size(self._state / "state.db-wal"),
            logs=self._logs,
        )


def memory(pid: int) -> float:
    """Resident, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def _size(path: Path) -> float:
    return path.stat().st_size / _MIB if path.exists() else 0.0


def _bytes_below(folder: Path) -> int:
    total, left = 0, [folder]
    while left:
        try:
            entries: Sequence[os.DirEntry[str]] = list(os.scandir(left.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                left.append(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
