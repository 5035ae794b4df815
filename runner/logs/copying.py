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
        """Keep a piece that ends at `position` in the other log. One that is kept already is ignored. Raises OSError and
        StoreCorruptError."""

    def afresh(self) -> None:
        """The other log was masked again: what follows takes the place of what was kept, from its beginning on, once it is `settle`d;
        where that never happens, the old one stays. Each piece ends where it did, and is no longer than it was. Raises OSError and
        StoreCorruptError."""

    def settle(self) -> None:
        """All of it has come, if anything was to come `afresh`. Raises OSError and StoreCorruptError, and then the old one stays."""

    def close(self) -> None:
        """May be repeated."""


class Replacement(Protocol):
    """What is to take the place of a log, piece by piece in the order of the positions; pieces that are not kept are ignored, and what
    is kept and does not come is emptied. Raises OSError and StoreCorruptError."""

    def put(self, stream: Stream, data: bytes, position: int) -> None: ...

    def commit(self) -> None: ...

    def abandon(self) -> None: ...


class CopyKeeper(Keeper, Protocol):
    """Where one attempt's log is kept, and may be replaced."""

    def replacement(self) -> Replacement | None:
        """None where nothing is kept. Raises OSError and StoreCorruptError."""


class KeptCopy:
    """Implements `LogCopy` over what keeps the log."""

    def __init__(self, keeper: CopyKeeper) -> None:
        self._keeper = keeper
        self._open = True
        self._position: int | None = None
        self._replacement: Replacement | None = None

    @property
    def position(self) -> int:
        if self._position is None:
            self._position = max((progress.end for progress in self._keeper.recall().values()), default=0)
        return self._position

    def append(self, stream: Stream, data: bytes, position: int) -> None:
        if not self._open:
            return
        if position <= self.position:
            if self._replacement is not None:
                self._replacement.put(stream, data, position)
        else:
            self.settle()
            self._keeper.append(stream, data, Progress(position))
            self._position = position

    def afresh(self) -> None:
        if self._open:
            self._abandon()
            _ = self.position  # so that the keeper knows what there is
            self._replacement = self._keeper.replacement()

    def settle(self) -> None:
        replacement, self._replacement = self._replacement, None
        if replacement is not None:
            replacement.commit()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._abandon()
            self._keeper.close()

    def _abandon(self) -> None:
        replacement, self._replacement = self._replacement, None
        if replacement is not None:
            replacement.abandon()
