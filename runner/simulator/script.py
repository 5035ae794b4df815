"""What one attempt does in the simulator: its part, and how the part goes on when others interfere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status

SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0)
ABORTED = Outcome(
    status=Status.ABORTED, kill={"signals": [["SIGTERM", 0.0]], "containment": "scripted", "survivors": 0}
)
TIMED_OUT = Outcome(status=Status.FAILED, reason=Reason.TIMEOUT, exit_code=124)
DESTROYED = Outcome(status=Status.FAILED, exit_code=137, signal=9)


class OnStop(StrEnum):
    """How an attempt takes it when it is asked to stop."""

    OBEYS = "obeys"
    """It is aborted `stop_after` seconds later, or once the grace and `kill_after` have passed."""
    FINISHES = "finishes"
    """It ends with its own outcome `stop_after` seconds later, if it is not killed before."""
    SILENT = "silent"
    """It says nothing more, until it is reported as aborted `stop_after` seconds later (never: infinity)."""


class Notice(Struct, frozen=True, kw_only=True):
    """Something that the attempt tells `after` seconds from its start."""

    after: float
    kind: Kind = Kind.MASK_SKIPPED


class Script(Struct, frozen=True, kw_only=True):
    """One attempt's part. All times in seconds.

    It starts `start_after` its submission and ends `duration` later with `outcome`, whose times are filled in. With
    `starts` False it ends `start_after` its submission without ever having started.
    """

    start_after: float = 0.01
    duration: float = 0.1
    outcome: Outcome = SUCCESS
    starts: bool = True
    notices: tuple[Notice, ...] = ()
    on_stop: OnStop = OnStop.OBEYS
    stop_after: float = 0.05
    kill_after: float = 0.01
    stopped: Outcome = ABORTED


Scripts = Callable[[AttemptId], Script]
"""Tells the part of every attempt."""


@dataclass(slots=True, kw_only=True)
class Course:
    """How an attempt's part goes, with all that happened to it so far. Times in seconds of one clock."""

    script: Script
    timeout: float | None
    submitted_at: float
    started_at: float | None = None
    to_be_paused: bool = False
    to_be_destroyed: bool = False
    """It was told so before it started."""
    stopped_at: float | None = None
    kill_at: float = math.inf
    paused_at: float | None = None
    paused_for: float = 0.0
    destroyed_at: float = math.inf

    def stop(self, now: float, grace: float) -> None:
        """It is asked to stop at `now`, and killed `grace` seconds later; asked again it can only be hurried."""
        if self.stopped_at is None:
            self.stopped_at = now
        self.kill_at = min(self.kill_at, now + grace + self.script.kill_after)

    def signal(self, signal: str, now: float) -> bool:
        """It is told to pause, to start again or that it is destroyed; whether that changes its pause."""
        if self.started_at is None and signal == "destroy":
            self.to_be_destroyed = True
        elif self.started_at is None:
            self.to_be_paused = signal == "pause"
        elif signal == "destroy":
            self.destroyed_at = min(self.destroyed_at, now)
        elif signal == "pause" and self.paused_at is None:
            self.paused_at = now
            return True
        elif signal == "start" and self.paused_at is not None:
            self.paused_for += now - self.paused_at
            self.paused_at = None
            return True
        return False

    def start(self, now: float) -> bool:
        """It starts; whether it is paused at once."""
        self.started_at = now
        if self.to_be_destroyed:
            self.signal("destroy", now)
        return self.to_be_paused and self.signal("pause", now)

    def start_at(self) -> float:
        """When it will start; infinity when it has, or never will."""
        if self.started_at is not None or self.stopped_at is not None or not self.script.starts:
            return math.inf
        return self.submitted_at + self.script.start_after

    def end(self) -> tuple[float, Outcome]:
        """When and how it will end if nothing more happens to it; never is infinity."""
        script, own = self.script, self._own_end()
        ends = [(self.destroyed_at + script.kill_after, DESTROYED)]
        if self.stopped_at is None:
            ends.append(own)
        elif script.on_stop is OnStop.SILENT:
            ends.append((self.stopped_at + script.stop_after, script.stopped))
        else:
            finishes = script.on_stop is OnStop.FINISHES and self.started_at is not None
            stopped = (self.stopped_at + script.stop_after, script.outcome if finishes else script.stopped)
            ends += [own, stopped, (self.kill_at, script.stopped)]
        return min(ends, key=lambda end: end[0])

    def _own_end(self) -> tuple[float, Outcome]:
        script = self.script
        if self.started_at is None:
            never = script.starts or self.stopped_at is not None
            return (math.inf if never else self.submitted_at + script.start_after), script.outcome
        if self.paused_at is not None:
            return math.inf, script.outcome
        begin = self.started_at + self.paused_for
        if self.timeout is not None and self.timeout < script.duration:
            return begin + self.timeout, TIMED_OUT
        return begin + script.duration, script.outcome
