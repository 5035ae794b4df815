"""How much is decided at once, by all groups together: so that nobody else waits for long, however many large
groups have something to do."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from runner.clock import Clock
from runner.engine.journal import Journal

MOST_AT_ONCE = 50
"""How many tasks are decided, or ended early, in one turn of the clock: some milliseconds with what is written of them. What
is left is for later turns."""

TURNS_BETWEEN = 2
"""In so many turns nothing is done but what others want: an answer takes several turns, and is not to wait in each of them."""

EFFORT_OF_ONE = 40
"""What it takes to decide a task, where to tell one that another is over, for which it waits, takes 1."""


SHARE = 10 * EFFORT_OF_ONE
"""What one group may spend before it is another's turn. Rows of one group lie beside each other: with less than this, transactions
would write many times as much."""


class Goer(Protocol):
    @property
    def caller(self) -> str: ...

    def go_on(self, share: int) -> None:
        """Do what takes about the effort `share`, and come to `Pace.later` again if there is more."""


class Pace:
    """An effort that is shared by all. When it is spent, those who have more to do wait until it is renewed, some turns later, and go on
    round robin: callers, and in each of them its groups."""

    def __init__(self, clock: Clock, journal: Journal, most: int) -> None:
        """`most` tasks are decided at once."""
        self._clock = clock
        self._journal = journal
        self._most = self.left = most * EFFORT_OF_ONE
        self._waiting: dict[str, dict[Goer, None]] = {}
        """By caller; each goes to the end when it was its turn."""
        self._scheduled = False

    def spend(self, effort: int) -> None:
        """Of what is `left`, which may become less than nothing."""
        self.left -= effort

    def later(self, goer: Goer) -> None:
        """Have it go on when it is its turn. What was decided is written before, so that no transaction grows with what there is to
        do."""
        self._waiting.setdefault(goer.caller, {})[goer] = None
        self._journal.wake()
        if not self._scheduled:
            self._schedule(TURNS_BETWEEN)

    def _schedule(self, between: int) -> None:
        self._scheduled = True
        self._clock.call_soon(partial(self._turn, between))

    def _turn(self, between: int) -> None:
        if self._journal.closed:
            return
        if between:
            self._schedule(between - 1)
            return
        self._scheduled = False
        self.left = self._most
        while self._waiting and self.left > 0:
            self._next().go_on(SHARE)
        self._journal.wake()  # it has waited long enough
        if self._waiting and not self._scheduled:
            self._schedule(TURNS_BETWEEN)

    def _next(self) -> Goer:
        """Whose turn it is; it leaves the circle."""
        caller, goers = next(iter(self._waiting.items()))
        goer = next(iter(goers))
        del goers[goer], self._waiting[caller]
        if goers:
            self._waiting[caller] = goers
        return goer
