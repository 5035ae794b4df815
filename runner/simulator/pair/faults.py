"""What goes wrong in a world of two runners, as data."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from runner.simulator.scenario import CrashAt

THERE, BACK = "there", "back"
"""From the origin to the executor, and back."""

Span = tuple[float, float]


class Restore(CrashAt, frozen=True, kw_only=True):
    """The machine is lost at that step, and another is set up from a backup that has the first `kept` (0 to 1) of what was written."""

    kept: float


class Cut(Struct, frozen=True, kw_only=True):
    """The session is cut at message number `message` (counted from 0 over all sessions) of its direction, just before or just after that
    has come. No other begins for `down` seconds. The executor notices after `lingers` seconds, the origin after `unnoticed`."""

    direction: str
    message: int
    delivered: bool = False
    down: float = 0.0
    lingers: float = 0.0
    unnoticed: float = 0.0


class PairFaults(Struct, frozen=True, kw_only=True):
    """`outages` are spans, in seconds from the beginning of the world, in which the line is cut; `stalls` those in which nothing passes
    and nobody is told; `origin_full` and `executor_full` those in which their disks take nothing. `chance` decides how long
    messages take, and which of those that are under way when a session ends come late."""

    origin: tuple[CrashAt, ...] = ()
    executor: tuple[CrashAt, ...] = ()
    cuts: tuple[Cut, ...] = ()
    outages: tuple[Span, ...] = ()
    stalls: tuple[Span, ...] = ()
    origin_full: tuple[Span, ...] = ()
    executor_full: tuple[Span, ...] = ()
    latency: float = 0.002
    chance: int = 0

    @property
    def any(self) -> bool:
        """Whether anything goes wrong at all."""
        spans = (*self.outages, *self.stalls, *self.origin_full, *self.executor_full)
        return bool(self.origin or self.executor or self.cuts or spans)

    @property
    def restores(self) -> bool:
        return any(isinstance(crash, Restore) for crash in self.executor)

    @property
    def executor_power(self) -> bool:
        """Whether what the executor runs is lost at some time."""
        return any(crash.power_loss or isinstance(crash, Restore) for crash in self.executor)

    @property
    def origin_power(self) -> bool:
        return any(crash.power_loss for crash in self.origin)

    @property
    def origin_delay(self) -> float:
        """Seconds during which the origin could not go on, and the time that executors are given to be heard afterwards."""
        down = sum(crash.downtime + 10.0 for crash in self.origin)
        return down + sum(end - start + 2.0 for start, end in self.origin_full)

    @property
    def until(self) -> float:
        """After so many seconds no span begins or ends any more."""
        spans = (*self.outages, *self.stalls, *self.origin_full, *self.executor_full)
        return max((end for _, end in spans), default=0.0)

    def words(self) -> Iterator[str]:
        for whose, crashes in (("origin", self.origin), ("executor", self.executor)):
            for crash in crashes:
                kind = "loses power" if crash.power_loss else "crashes"
                if isinstance(crash, Restore):
                    kind = f"is restored from a backup of {crash.kept:.3f} of it"
                place = f"{'after' if crash.after else 'before'} its step {crash.step}"
                yield f"the {whose} {kind} {place}, back after {crash.downtime:.3f}"
        for cut in self.cuts:
            place = f"{'after' if cut.delivered else 'before'} message {cut.message} {cut.direction}"
            noticed = f"noticed here after {cut.unnoticed:.3f}, there after {cut.lingers:.3f}"
            yield f"the line is cut {place} for {cut.down:.3f}, {noticed}"
        for what, spans in (
            ("the line is cut", self.outages),
            ("the line stalls", self.stalls),
            ("the origin's disk is full", self.origin_full),
            ("the executor's disk is full", self.executor_full),
        ):
            for start, end in spans:
                yield f"{what} from {start:.3f} to {end:.3f}"
        yield f"messages take {self.latency:.3f}, chance {self.chance}"


NO_PAIR_FAULTS = PairFaults()
