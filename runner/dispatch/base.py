"""The contract between the engine and whatever carries attempts out. The engine does not know which it calls.

All verbs are requests: they return at once, never raise for anything that the executor may say, and are idempotent. What
became of them arrives as reports. One executor serves many attempts of many groups at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from runner.model.dispatch import AttemptId, Dispatch, GroupDispatch, Report

Sink = Callable[[Report], None]


class Dispatcher(Protocol):
    @property
    def name(self) -> str:
        """The runner that attempts run on, as `runner:` shows it in results."""

    @property
    def instance(self) -> str:
        """The executor's present life. The engine writes it down with an attempt before it submits it; an executor that is
        given an unfinished attempt of another instance reports it `errored` (`supervisor_lost` or `host_restarted`; `runner_lost` where it
        was another runner's)."""

    def submit(self, dispatch: Dispatch) -> None:
        """Carry the attempt out. An attempt that is known already is left as it is, so that sending again attaches.

        The attempt is started at most once in the life of `dispatch.instance`, whoever crashes in between. A cancel that
        came first wins: the attempt is reported `aborted` without being started.
        """

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        """From now on give `sink` every report of this attempt with a sequence above `after`, in order: those that are not
        acknowledged yet at once (from the loop, not from within this call), later ones as they come. A new sink replaces
        the old one."""

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        """The engine has recorded all reports up to this one, safe against loss of power. Once that includes the `Finished`
        the executor may forget the attempt."""

    def cancel(self, id: AttemptId, grace: float) -> None:
        """Stop the attempt: politely, after `grace` seconds by force. Repeated with a shorter grace it is hurried. The
        attempt still reports how it ended: `aborted`, or its own end if that came first."""

    def signal(self, id: AttemptId, signal: str) -> None:
        """`pause`, `start` or `destroy`. Reported as `task_paused` and `task_resumed`; ignored where not understood. One that
        reaches an attempt before its start is obeyed behind it; an attempt that is submitted again is made what `dispatch.paused` says."""

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        """Called once after a restart, behind all `submit`s: whatever else the executor holds of this origin is ended and
        forgotten."""

    def release(self, group: str) -> None:
        """The group is over: what was kept for it goes."""


class GroupDispatcher(Dispatcher, Protocol):
    """Another runner, which carries out whole groups as well. What it tells of one are `Told` and `Finished`; `cancel` with less than the usual
    grace ends clean-up too, and a signal is for the attempt at a task that it names."""

    def submit_group(self, dispatch: GroupDispatch) -> None:
        """As `submit`."""
