"""How much goes on at a node at once, and whether it takes more: streams and groups are counted, and a node that is about to end says
so to all who wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.config.service import Limits
from runner.engine.engine import Engine
from runner.errors import LimitError, UnavailableError

STREAM_RETRY_SECONDS = 5.0
GROUP_RETRY_SECONDS = 10.0
RECONNECT_SECONDS = 1.0


class Traffic:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        """May be replaced; what goes on already goes on."""
        self._leaving = False
        self._watchers: dict[object, Callable[[], None]] = {}
        self._streams: Counter[str] = Counter()
        self.shells = 0
        """How many there are."""

    @property
    def leaving(self) -> bool:
        return self._leaving

    @property
    def streams(self) -> int:
        """How many go on."""
        return self._streams.total()

    def leave(self) -> None:
        """From now on nothing new is taken, and streams come to their end."""
        self._leaving = True
        for callback in list(self._watchers.values()):
            callback()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the node is about to end; the returned function forgets that."""
        key = object()
        self._watchers[key] = callback

        def forget() -> None:
            self._watchers.pop(key, None)

        return forget

    def check_staying(self) -> None:
        """Raises UnavailableError once the node is about to end."""
        if self._leaving:
            raise UnavailableError(
                "this runner is about to end; what runs goes on, and the next one will know it",
                retry_after=RECONNECT_SECONDS,
            )

    @contextmanager
    def stream(self, caller: str) -> Iterator[None]:
        """One watch or followed log. Raises LimitError and UnavailableError."""
        self.check_staying()
        limits = self.limits
        if self._streams.total() >= limits.streams:
            raise LimitError(
                f"this runner serves {limits.streams:,} watches and followed logs at most; try again later",
                limit=limits.streams,
                retry_after=STREAM_RETRY_SECONDS,
            )
        if self._streams[caller] >= limits.streams_per_caller:
            raise LimitError(
                f"{caller!r} may have {limits.streams_per_caller:,} watches and followed logs at once; end one of them",
                limit=limits.streams_per_caller,
                retry_after=STREAM_RETRY_SECONDS,
            )
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

    @contextmanager
    def shell(self) -> Iterator[None]:
        """One shell. Raises LimitError and UnavailableError."""
        self.check_staying()
        limit = self.limits.shells
        if self.shells >= limit:
            raise LimitError(
                f"this runner has {limit:,} shells at once at most (`limits.shells`); try again later",
                limit=limit,
                retry_after=STREAM_RETRY_SECONDS,
            )
        self.shells += 1
        try:
            yield
        finally:
            self.shells -= 1

    def check_groups(self, engine: Engine, caller: str, size: int) -> None:
        """Raises LimitError when no further group of so many bytes can be taken, UnavailableError when the node is about to
        end."""
        self.check_staying()
        limits, whole, own = self.limits, engine.living.all, engine.living.of(caller)
        for reached, limit, message in (
            (whole.groups >= limits.groups, limits.groups, "this runner has {:,} groups that are not over"),
            (
                own.groups >= limits.groups_per_caller,
                limits.groups_per_caller,
                f"{caller!r} has {{:,}} groups here that are not over",
            ),
            (
                whole.bytes + size > limits.document_bytes,
                limits.document_bytes,
                "the documents of groups that are not over would take more than {:,} bytes",
            ),
            (
                own.bytes + size > limits.document_bytes_per_caller,
                limits.document_bytes_per_caller,
                f"the documents of groups of {caller!r} that are not over would take more than {{:,}} bytes",
            ),
        ):
            if reached:
                raise LimitError(
                    f"{message.format(limit)}, which is the most; try again later",
                    limit=limit,
                    retry_after=GROUP_RETRY_SECONDS,
                )
