"""What a node keeps of groups that are over: no longer, no more and no larger than it was told.

What runs, what somebody watches or reads, and what somebody has still to be told of stays; so do attempts that another runner has sent
here, for a week, so that one that is sent again late is known, and not run a second time. Everything is done in small pieces
beside the work of the node, and may be ended anywhere: what one life has begun to remove, nobody sees again, and the next one
removes the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from runner.clock import Clock, Moment, seconds_between
from runner.config.service import Retention
from runner.engine import guests
from runner.engine.engine import Engine
from runner.errors import GroupInUseError, GroupNotFoundError, RunnerError
from runner.logs.base import LogStore
from runner.store.base import Archive, FinishedGroup, GroupQuery

PASS_SECONDS = 300.0
ROWS_AT_ONCE = 500
"""Some milliseconds."""
PAUSE_SECONDS = 0.002
PAGE = 100

JUMP_SECONDS = 60.0
"""By so much a wall clock may go wrong before it counts as having been set."""
SETTLING_SECONDS = 3600.0
"""For so long nothing goes by its age once the clock was set: somebody may set it back."""
LONGEST_SILENCE_SECONDS = 86_400.0
GUEST_SECONDS = 7 * 86_400.0
"""How long at least an attempt of another runner is kept that is over."""

_log = logging.getLogger(__name__)


async def _nobody_looks(group: str) -> None:
    pass


class Keeper:
    def __init__(
        self,
        policy: Callable[[], Retention],
        *,
        engine: Engine,
        store: Archive,
        logs: LogStore,
        clock: Clock,
        expire: Callable[[], None] = lambda: None,
        clear: Callable[[str], None] = lambda id: None,
        end_shells: Callable[[str], Awaitable[None]] = _nobody_looks,
    ) -> None:
        """`policy` is asked each time. `expire` removes what else is kept for a time only, `clear` the workspace of a group that is over; both are called
        in a thread. `end_shells` ends what somebody looks at a group by that is to be removed."""
        self._policy = policy
        self._engine = engine
        self._store = store
        self._logs = logs
        self._clock = clock
        self._expire = expire
        self._clear = clear
        self._end_shells = end_shells
        self._busy = asyncio.Lock()
        self._removing = asyncio.Lock()
        """One by one: who comes second must not clear the workspace of a new group of this id."""
        self._calendar = Calendar(clock.now(), _last_acceptance(store))

    def recover(self) -> None:
        """Remove the logs of groups that a former life was about to remove. To be called before new groups are taken."""
        for id in self._store.removed():
            if self._store.head(id) is None:
                self._logs.delete_group(id)

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.tidy()
            except (RunnerError, OSError) as error:  # a full disk, say
                _log.warning("what is old could not be removed: %s", error, extra={"action": "retention_failed"})
            except Exception:  # noqa: BLE001 (a fault in this is no reason to end the node)
                _log.exception("what is old could not be removed", extra={"action": "retention_failed"})
            await asyncio.sleep(PASS_SECONDS)

    async def remove(self, id: str) -> None:
        """Remove one group that is over, whatever the policy. On return nobody sees it any more, and what it took has been given back; both may be
        lost with the machine until the store is synced. Raises GroupNotFoundError, GroupInUseError, and StoreError."""
        async with self._removing:
            await self._forget(id)
        _log.info("a group was removed", extra={"action": "group_removed", "group_id": id})
        await self._purge()
        await asyncio.to_thread(self._logs.purge)

    async def _forget(self, id: str) -> None:
        head = self._store.head(id)
        if head is None:
            raise GroupNotFoundError(f"there is no group with the id {id!r}")
        group = head.group
        if group.finished_at is None or not group.status.terminal:
            raise GroupInUseError("it is not over: `runner cancel` ends it early")
        if is_known_by(id, group.finished_at, group.accepted, self._clock.now()):
            raise GroupInUseError(
                "another runner has sent it here, and it is kept for a week after its end: one that is sent again late is known by it"
            )
        if self._store.is_announced(id):
            raise GroupInUseError("the webhook has still to be told of its end: it can be removed once that is done")
        await self._end_shells(id)
        # First, and its logs at once: as soon as it is forgotten there may be another one of this id.
        await asyncio.to_thread(self._clear, id)
        if not self._engine.forget(id):
            raise GroupInUseError(
                "somebody watches or reads it, or something of it may still report, as soon as its runner is reached: try again later"
            )
        self._logs.delete_group(id)

    async def tidy(self) -> None:
        """Remove all that is too old or too much by now. Raises RunnerError and OSError."""
        async with self._busy:
            await self._purge()
            await self._measure()
            await self._remove()
            await asyncio.to_thread(self._logs.purge)
            await asyncio.to_thread(self._expire)

    async def _purge(self) -> None:
        while self._store.purge(ROWS_AT_ONCE):  # noqa: ASYNC110 (nothing is waited for: others have their turn)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _measure(self) -> None:
        while ids := self._store.unmeasured(PAGE):
            self._store.measured(await asyncio.to_thread(self._sizes, ids))

    def _sizes(self, ids: Sequence[str]) -> dict[str, int]:
        return {id: self._logs.size(id) for id in ids}

    async def _remove(self) -> None:
        now = self._clock.now()
        if self._calendar.was_set(now):
            _log.warning(
                "the clock was set: nothing goes by its age for %d minutes",
                SETTLING_SECONDS / 60,
                extra={"action": "clock_set"},
            )
        surplus = _Surplus(self._policy(), self._store, now, self._calendar.is_settled(now))
        removed: Counter[str] = Counter()
        for group in self._oldest_first():
            cause = surplus.cause(group)
            if cause is None and not surplus.may_follow(group):
                break
            if cause is not None:
                surplus.without(group)  # one that somebody watches goes later, and no newer one in its place
                await asyncio.to_thread(self._clear, group.id)
                if self._engine.forget(group.id):
                    self._logs.delete_group(group.id)
                    await self._purge()
                    removed.update({cause: 1, "groups": 1, "log_bytes": group.log_bytes})
            await asyncio.sleep(PAUSE_SECONDS)
        if removed:
            _log.info(
                "groups that were over have been removed: %d", removed["groups"], extra={"action": "removed", **removed}
            )

    def _oldest_first(self) -> Iterator[FinishedGroup]:
        last: FinishedGroup | None = None
        while page := self._store.finished(last, PAGE):
            yield from page
            last = page[-1]


def is_known_by(id: str, finished_at: float, accepted: Moment, now: Moment) -> bool:
    """Whether it was sent by another runner, and has to be known when it is sent again. By both clocks, for one of them may have been set."""
    if not guests.is_guest(id):
        return False
    return now.wall - finished_at < GUEST_SECONDS or seconds_between(accepted, now) < GUEST_SECONDS


class Calendar:
    """Whether the wall clock may be believed. One that was set far ahead by mistake must not make everything old at once."""

    def __init__(self, started: Moment, last_known: float | None) -> None:
        """`last_known`: when this node has last done something, in seconds since the epoch."""
        self._known = started
        silence = 0.0 if last_known is None else abs(started.wall - last_known)
        self._settled_at = started.boot + (SETTLING_SECONDS if silence > LONGEST_SILENCE_SECONDS else 0.0)

    def was_set(self, now: Moment) -> bool:
        """Whether the clock was set since the last call."""
        gone = now.boot - self._known.boot
        jumped = abs(now.wall - self._known.wall - gone) > JUMP_SECONDS
        self._known = now
        if jumped:
            self._settled_at = now.boot + SETTLING_SECONDS
        return jumped

    def is_settled(self, now: Moment) -> bool:
        return now.boot >= self._settled_at


class _Surplus:
    """What of the groups that are over is too old or too much."""

    def __init__(self, policy: Retention, store: Archive, now: Moment, by_age: bool) -> None:
        usage = store.usage()
        self._policy = policy
        self._store = store
        self._now = now
        self._by_age = by_age and policy.age_seconds > 0
        self._groups = usage.groups
        self._log_bytes = usage.log_bytes

    def cause(self, group: FinishedGroup) -> str | None:
        """Why this one has to go, if it has to."""
        return None if self._is_held(group) else self._cause(group)

    def may_follow(self, group: FinishedGroup) -> bool:
        """Whether there may be others behind this one, which stays, that have to go."""
        return self._is_old(group) or (self._is_held(group) and self._cause(group) is not None)

    def without(self, group: FinishedGroup) -> None:
        self._groups -= 1
        self._log_bytes -= group.log_bytes

    def _is_held(self, group: FinishedGroup) -> bool:
        return is_known_by(group.id, group.finished_at, group.accepted, self._now)

    def _cause(self, group: FinishedGroup) -> str | None:
        policy = self._policy
        if policy.groups and self._groups > policy.groups:
            return "too_many"
        if policy.bytes and self._log_bytes + self._store.used_bytes() > policy.bytes:
            return "too_large"
        # Where the clock was set meanwhile, its end may seem older than its beginning.
        if self._is_old(group) and seconds_between(group.accepted, self._now) > policy.age_seconds:
            return "too_old"
        return None

    def _is_old(self, group: FinishedGroup) -> bool:
        return self._by_age and self._now.wall - group.finished_at > self._policy.age_seconds


def _last_acceptance(store: Archive) -> float | None:
    page = store.groups(GroupQuery(limit=1))
    return page.rows[0].accepted.wall if page.rows else None
