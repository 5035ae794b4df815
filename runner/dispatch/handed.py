"""One attempt that was handed to another runner, and its log, which is copied from there."""

from __future__ import annotations

import logging
from typing import Protocol

from runner.dispatch.claims import Claims
from runner.errors import StoreCorruptError
from runner.model.dispatch import AttemptId, Dispatch
from runner.model.log import Stream
from runner.model.session import Afresh, Printed

_log = logging.getLogger(__name__)


class Copy(Protocol):
    """What is needed of a `LogCopy`, whose methods these are."""

    @property
    def position(self) -> int: ...

    def append(self, stream: Stream, data: bytes, position: int) -> None: ...

    def afresh(self) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class Copies(Protocol):
    """What is needed of a `LogStore`, whose method this is."""

    def copy(self, id: AttemptId) -> Copy: ...


class Handed:
    """`heard` is the number of the last report that was passed on."""

    __slots__ = (
        "cancel_grace",
        "claims",
        "dispatch",
        "heard",
        "is_handed_over",
        "is_over",
        "log",
        "may_be_known",
        "signals",
    )

    def __init__(self, dispatch: Dispatch, runner: str, logs: Copies) -> None:
        """`runner` is what this one calls the peer."""
        self.dispatch = dispatch
        self.claims = Claims(dispatch.task, runner)
        self.log = CopiedLog(dispatch.id, logs)
        self.heard = 0
        self.cancel_grace: float | None = None
        """In seconds; None where it was not asked to end."""
        self.signals: list[str] = []
        """What it has to be told behind its submission."""
        self.may_be_known = dispatch.resumed
        """The peer may know it, in this session or from a former one."""
        self.is_handed_over = False
        """In the present session."""
        self.is_over = False
        """Its end was passed on."""

    def end(self) -> None:
        self.is_over = True
        self.log.close()


class CopiedLog:
    """A log that turns out to be damaged here is copied no more: the attempt goes on without it."""

    __slots__ = ("_copy", "_id", "_is_copied", "_logs")

    def __init__(self, id: AttemptId, logs: Copies) -> None:
        self._id = id
        self._logs = logs
        self._copy: Copy | None = None
        self._is_copied = True

    @property
    def position(self) -> int:
        """How far it is here; 0 where that cannot be read."""
        try:
            return self._opened().position
        except (OSError, StoreCorruptError) as error:
            self._give_up(error)
            return 0

    def take(self, said: Printed | Afresh) -> None:
        """A piece of it, or that it comes afresh. Raises OSError."""
        if not self._is_copied:
            return
        copy = self._opened()
        try:
            if isinstance(said, Afresh):
                copy.afresh()
            else:
                note = f"\n[{said.missing:,} bytes are not kept]\n".encode() if said.missing else b""
                copy.append(said.stream, note + said.data, said.position)
        except StoreCorruptError as error:
            self._give_up(error)

    def settle(self) -> None:
        """What came afresh has come. Raises OSError."""
        if self._is_copied:
            try:
                self._opened().settle()
            except StoreCorruptError as error:
                self._give_up(error)

    def close(self) -> None:
        """May be repeated."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def _opened(self) -> Copy:
        if self._copy is None:
            self._copy = self._logs.copy(self._id)
        return self._copy

    def _give_up(self, error: Exception) -> None:
        _log.error("the log of %s cannot be copied: %s", self._id, error, extra={"action": "log_copy"})
        self._is_copied = False
