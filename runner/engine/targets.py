"""The contract between the engine and the runners that tasks may be sent to, itself among them.

The engine asks where a task goes when it could start; it does not know what a peer is, nor how it is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from runner.dispatch.base import Dispatcher, GroupDispatcher
from runner.model.result import Reason
from runner.model.task import Forward

Changed = Callable[[str, bool], None]
"""Told of a runner's name, and whether it is there now."""

Gone = Callable[[Dispatcher], None]
"""Told of an executor that nobody will hear of any more."""


class Unreachable(Struct, frozen=True, kw_only=True):
    """None of the runners that could take a task is there at present. `why` says of each what it lacks, for a person."""

    why: str


class Refusal(Struct, frozen=True, kw_only=True):
    """No runner will ever take it; `message` says why, for a person."""

    reason: Reason
    message: str


class Targets(Protocol):
    """All verbs return at once; they are called in the thread of the clock."""

    @property
    def here(self) -> Dispatcher:
        """Where tasks run that go nowhere else. What it carries out holds a slot of the engine."""

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        """Where a task of this type goes now, or a group with tasks of these; `forward` has been rendered. It may be `here`, where
        labels allow it, and labels do not choose one of the `hops`, the runners that the group came by. What was chosen is written down with the attempt and stays its executor."""

    def named(self, runner: str) -> Dispatcher:
        """The executor of an attempt that was dispatched before, whether it is there at present or not. `here` where nobody else is
        known by this name: it was this runner's own, or it is that of a peer who is none any more, and then `here` does not know
        the attempt's instance and says so."""

    def peer(self, executor: Dispatcher) -> GroupDispatcher | None:
        """The executor, which is not `here`, as one that carries out whole groups; None where it is no peer any more."""

    def all(self) -> Iterable[Dispatcher]:
        """Every executor that may have something of this engine: `here` and all peers."""

    def subscribe(self, changed: Changed, gone: Gone) -> None:
        """Call `changed` whenever a runner has come or gone, so that what waits is decided anew, and `gone` when one is no peer any more,
        behind what it has said of its attempts. To be called once."""


class Alone:
    """Implements `Targets` for a runner that has no peers."""

    def __init__(self, here: Dispatcher) -> None:
        self.here = here

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        del forward, types, hops
        return Refusal(reason=Reason.NO_SUCH_RUNNER, message="this runner has no peers that it could forward to")

    def named(self, runner: str) -> Dispatcher:
        del runner
        return self.here

    def peer(self, executor: Dispatcher) -> GroupDispatcher | None:
        del executor
        return None

    def all(self) -> Iterable[Dispatcher]:
        return (self.here,)

    def subscribe(self, changed: Changed, gone: Gone) -> None:
        del changed, gone  # nobody comes or goes
