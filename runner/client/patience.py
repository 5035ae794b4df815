"""How long, and how often, something is tried again. Pure but for the clock and the dice that it is given."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from msgspec import Struct

from runner.errors import LimitError, RunnerError, UnavailableError, UnreachableError

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0
FACTOR = 2.0


class Patience(Struct, frozen=True, kw_only=True):
    """In seconds: how long a call goes on while the node does not answer; and a stream that was interrupted, from the last that came
    of it: a node may be away for an upgrade, or while its machine is started again."""

    call: float = 20.0
    stream: float = 900.0
    silence: float = 45.0
    """How long nothing at all may come from the node, not even an answer to whether it is there, before the line counts as cut:
    also one that nobody has closed. Two thirds of that pass before it is asked, which a node refuses to be asked too often:
    by its default at most every ten seconds."""


class Backoff:
    """Waits that grow, with jitter: many clients of one node must not come back at one moment."""

    def __init__(self, longest: float = LONGEST_SECONDS, *, dice: Callable[[], float] = random.random) -> None:
        """`longest` in seconds."""
        self._longest = longest
        self._dice = dice
        self._tries = 0

    def begin_anew(self) -> None:
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait before the next try."""
        grown = min(self._longest, FIRST_SECONDS * FACTOR**self._tries)
        self._tries = min(self._tries + 1, 60)
        return grown * (0.5 + 0.5 * self._dice())


class Attempts:
    """The tries of one call."""

    def __init__(
        self, seconds: float, *, now: Callable[[], float] = time.monotonic, dice: Callable[[], float] = random.random
    ) -> None:
        self._now = now
        self._backoff = Backoff(dice=dice)
        self._end = now() + seconds

    def succeeded(self, seconds: float) -> None:
        """It has worked; from here on there are so many seconds again."""
        self._backoff.begin_anew()
        self._end = self._now() + seconds

    def wait(self, error: RunnerError) -> float | None:
        """How many seconds to wait before the next try; None where there is none: the error is not one that time heals, or it
        takes longer than there is patience."""
        if not isinstance(error, UnreachableError | UnavailableError | LimitError):
            return None
        told = None if isinstance(error, UnreachableError) else error.retry_after
        if isinstance(error, LimitError) and told is None:
            return None
        # Never before the node wants us back; those whom it has told the same come one after the other.
        wait = (told or 0.0) + self._backoff.next()
        return wait if self._now() + wait <= self._end else None
