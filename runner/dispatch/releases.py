"""Which groups a peer has still to be told are over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MOST = 100_000
"""That a peer which is away is told of when it is back; it forgets the others by itself, in a week."""
SURE_SECONDS = 120.0
"""After so long in the same session a message has arrived: one that nobody hears any more has ended by then."""


class Releases:
    """Times in seconds of the boot clock."""

    def __init__(self) -> None:
        self._due: dict[str, None] = {}
        self._told: deque[tuple[float, str]] = deque()
        """In this session, and when; not those that have surely arrived."""

    def add(self, group: str) -> None:
        if len(self._due) < MOST:
            self._due[group] = None

    def tell(self, now: float, tell: Callable[[str], None]) -> None:
        """Tell what is due, in a session that is on."""
        while self._told and self._told[0][0] < now - SURE_SECONDS:
            self._told.popleft()
        due, self._due = self._due, {}
        for group in due:
            tell(group)
            self._told.append((now, group))

    def cut(self, now: float) -> None:
        """The session is over: what may not have arrived is due again."""
        for at, group in self._told:
            if at >= now - SURE_SECONDS:
                self.add(group)
        self._told.clear()
