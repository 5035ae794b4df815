"""The log of an attempt that runs on another runner: masked there, copied here as it grows."""

from __future__ import annotations

from typing import Protocol

from runner.logs.progress import Progress
from runner.logs.sink import Keeper
from runner.model.log import Stream


class LogCopy(Protocol):
    """Where the pieces of another runner's log are put, one behind the other."""

    @property
    def position(self) -> int:
        """The place in the other log behind which the next piece is wanted, 0 at first. It is kept with every piece, so that a
        former life of this runner is gone on with. Raises OSError and StoreCorruptError."""

    def append(self, stream: Stream, data: bytes, position: int) -> None:
        """Keep a piece that ends at `position` in the other log. One that is kept already is ignored."""

    def close(self) -> None:
        """May be repeated."""


class KeptCopy:
    """Implements `LogCopy` over what keeps the log."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._open = True
        self._position: int | None = None

    @property
    def position(self) -> int:
        if self._position is None:
            self._position = max((progress.end for progress in self._keeper.recall().values()), default=0)
        return self._position

    def append(self, stream: Stream, data: bytes, position: int) -> None:
        if self._open and position > self.position:
            self._keeper.append(stream, data, Progress(position))
            self._position = position

    def close(self) -> None:
        if self._open:
            self._open = False
            self._keeper.close()
