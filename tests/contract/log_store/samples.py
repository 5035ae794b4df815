"""What the tests of the log stores share: every implementation, a loop, and what is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runner.logs.base import LogStore
from runner.logs.files import FileLogStore
from runner.logs.memory import MemoryLogStore
from runner.logs.sink import CallSoon
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import Stream
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()
LIMIT = 64 << 10
Reopen = Callable[[], LogStore]

STORES: dict[str, Callable[[Path, CallSoon], LogStore]] = {
    "memory": lambda folder, call_soon: MemoryLogStore(now=lambda: 12.5, call_soon=call_soon),
    "files": lambda folder, call_soon: FileLogStore(
        folder / "logs", now=lambda: 12.5, call_soon=call_soon, sealer=SEALER
    ),
}


class Loop:
    """A loop whose turns the test decides on."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def turn(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


def masker(*needles: str) -> Masker:
    made = Masker()
    for needle in needles:
        assert made.add(needle)
    return made


def write(store: LogStore, *pieces: tuple[Stream, bytes]) -> None:
    sink = store.open(ID, masker())
    for stream, data in pieces:
        sink.write(stream, data)
    sink.close()


def kept(store: LogStore, id: AttemptId = ID) -> int:
    return sum(len(frame.data) for frame in store.frames(id, limit_bytes=1 << 30))
