"""The runners that a task may be sent to: this one, and those that it was told of by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from msgspec import Struct

from runner.clock import rfc3339
from runner.dispatch.base import Dispatcher, GroupDispatcher
from runner.dispatch.remote import RemoteDispatcher
from runner.engine.targets import Changed, Gone, Refusal, Unreachable
from runner.model.fault import nearest
from runner.model.load import Load
from runner.model.result import Reason
from runner.model.session import ExecutorHello, is_of
from runner.model.task import Forward

MOST_KEPT = 1000
"""Of answers to which runners fit."""
MOST_NAMED = 20
"""Of so many runners it is said what each lacks, and of one so many types."""


class Types(Protocol):
    """What is needed of a `Registry`."""

    @property
    def types(self) -> Collection[str]: ...

    def trouble(self, type: str) -> str | None: ...


class Own(Struct, frozen=True, kw_only=True):
    """This runner itself. What may change while it runs is asked for."""

    dispatcher: Dispatcher
    types: Types
    labels: Callable[[], Mapping[str, str]]
    load: Callable[[], Load]
    is_over: Callable[[str], bool] = lambda group: False
    """Whether nothing of a group can be wanted any more."""


class _Candidate(NamedTuple):
    name: str
    dispatcher: Dispatcher
    burden: Callable[[], float]
    """How much each of its slots has to do."""


Reach = Callable[[str], RemoteDispatcher | None]
"""Gives the runner at an address; None where there may be none."""


class Peers:
    """Implements `runner.engine.targets.Targets`."""

    def __init__(
        self, own: Own, peers: Iterable[RemoteDispatcher] = (), *, reach: Reach = lambda address: None
    ) -> None:
        """`reach` is asked for who is called by an address and not known; he is a peer from then on."""
        self._own = own
        self._peers = {peer.name: peer for peer in peers}
        for peer in self._peers.values():
            peer.namesake, peer.is_over = partial(self._namesake, peer), own.is_over
        self._reach = reach
        self._changed: Changed = lambda name, there: None
        self._gone: Gone = lambda executor: None
        self._found: dict[object, Sequence[_Candidate] | Unreachable] = {}
        """Who fits what was asked for; until somebody comes or goes."""

    def __iter__(self) -> Iterator[RemoteDispatcher]:
        return iter(list(self._peers.values()))

    def add(self, peer: RemoteDispatcher) -> None:
        """One that nothing was handed to in a former life. What waits for a runner is decided anew."""
        self._know(peer)
        peer.reconcile(())
        self._notice(peer.name, False)

    def remove(self, name: str, why: str) -> None:
        """It is no peer any more, and what it carries out is lost; `why` is for a person."""
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.retire(why)
            self._gone(peer)
            self._notice(name, False)

    def _know(self, peer: RemoteDispatcher) -> None:
        self._peers[peer.name] = peer
        peer.on_change = self._notice
        peer.namesake, peer.is_over = partial(self._namesake, peer), self._own.is_over
        self._found.clear()

    def _namesake(self, peer: RemoteDispatcher, hello: ExecutorHello) -> str | None:
        """By which other name the runner that says this is known."""
        return next((it.name for it in self._peers.values() if it is not peer and it.may_be(hello)), None)

    def _notice(self, name: str, there: bool) -> None:
        self._found.clear()
        self._changed(name, there)

    @property
    def here(self) -> Dispatcher:
        return self._own.dispatcher

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        if forward.to is not None:
            return self._called(forward.to, types)
        return self._fitting(forward.labels, types, hops)

    def named(self, runner: str) -> Dispatcher:
        peer = self._peers.get(runner)
        if peer is None and ":" in runner and (peer := self._reach(runner)) is not None:
            self._know(peer)  # and it is told at the end of the engine's start what it has
        return self.here if peer is None else peer

    def peer(self, executor: Dispatcher) -> GroupDispatcher | None:
        peer = self._peers.get(executor.name)
        return peer if peer is executor else None

    def all(self) -> Iterable[Dispatcher]:
        return (self.here, *self._peers.values())

    def subscribe(self, changed: Changed, gone: Gone) -> None:
        self._changed, self._gone = changed, gone
        for peer in self._peers.values():
            peer.on_change = self._notice

    def _called(self, name: str, types: Collection[str]) -> Dispatcher | Unreachable | Refusal:
        if name == self.here.name:
            return self.here
        peer = self._peers.get(name)
        if peer is None and ":" in name and (peer := self._reach(name)) is not None:
            self._know(peer)
            peer.reconcile(())
        if peer is None:
            known = f"known are {', '.join([self.here.name, *self._peers])}"
            message = f"this runner has no peer {name!r} ({nearest(name, self._peers) or known})"
            return Refusal(reason=Reason.NO_SUCH_RUNNER, message=message)
        hello = peer.hello
        if hello is None:
            return Unreachable(why=_away(peer))
        if (missing := _missing(types, hello.types)) is not None:
            if (why := hello.unusable.get(missing)) is not None:
                message = f"{name} cannot carry out the task type {missing!r}: {why}"
            else:
                known = f"it can do {', '.join(sorted(hello.types)[:MOST_NAMED])}"
                message = f"{name} has no task type {missing!r}: {known}"
            return Refusal(reason=Reason.UNKNOWN_TYPE, message=message)
        return peer

    def _fitting(
        self, labels: Mapping[str, str], types: Collection[str], hops: Sequence[str]
    ) -> Dispatcher | Unreachable:
        own = self._own.labels()
        wanted = frozenset(labels.items()), frozenset(types), frozenset(own.items()), frozenset(hops)
        found = self._found.get(wanted)
        if found is None:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            found = self._found[wanted] = self._find(labels, types, own, hops)
        if isinstance(found, Unreachable):
            return found
        return min(found, key=lambda candidate: (candidate.burden(), candidate.name)).dispatcher

    def _find(
        self, labels: Mapping[str, str], types: Collection[str], own: Mapping[str, str], hops: Sequence[str]
    ) -> Sequence[_Candidate] | Unreachable:
        """All that fit now."""
        lacking: list[str] = []
        fitting: list[_Candidate] = []
        away: list[RemoteDispatcher] = []

        def look(
            candidate: _Candidate,
            its_labels: Mapping[str, str],
            its_types: Collection[str],
            unusable: Callable[[str], str | None],
        ) -> None:
            lack = _lack(its_labels, its_types, labels, types, unusable)
            if lack is None:
                fitting.append(candidate)
            else:
                lacking.append(f"{candidate.name} {lack}")

        here = _Candidate(self.here.name, self.here, lambda: _burden(self._own.load()))
        look(here, own, self._own.types.types, self._own.types.trouble)
        for peer in self._peers.values():
            if (hello := peer.hello) is None:
                away.append(peer)
            elif any(is_of(came, hello.node) for came in hops):
                lacking.append(f"{peer.name} is one of the runners that the group came by")
            else:
                its = _Candidate(peer.name, peer, partial(_burden_of, peer))
                look(its, hello.labels, hello.types, hello.unusable.get)
        if fitting:
            return fitting
        # One that is away may have changed, so that nobody is ruled out for good.
        lacking += map(_away, away)
        wanted = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        more = [] if len(lacking) <= MOST_NAMED else [f"and {len(lacking) - MOST_NAMED} more"]
        return Unreachable(why=f"no runner fits {wanted}: {'; '.join([*lacking[:MOST_NAMED], *more])}")


def _burden_of(peer: RemoteDispatcher) -> float:
    """By what it has told last, and what it was given since."""
    load = peer.load
    return max(load.taken + load.waiting, peer.under_way) / max(1, load.slots)


def _burden(load: Load) -> float:
    """How much each slot has to do."""
    return (load.taken + load.waiting) / max(1, load.slots)


def _lack(
    its_labels: Mapping[str, str],
    its_types: Collection[str],
    labels: Mapping[str, str],
    types: Collection[str],
    unusable: Callable[[str], str | None],
) -> str | None:
    """What a runner has not that is wanted; None where it fits."""
    for name, value in labels.items():
        if name not in its_labels:
            return f"has no label {name}"
        if its_labels[name] != value:
            return f"has {name}={its_labels[name]}"
    missing = _missing(types, its_types)
    if missing is None:
        return None
    why = unusable(missing)
    return f"has no task type {missing!r}" if why is None else f"cannot carry out the task type {missing!r} ({why})"


def _missing(types: Collection[str], known: Collection[str]) -> str | None:
    """The first of the types that is not known; None where all are."""
    return next((type for type in sorted(types) if type not in known), None)


def _away(peer: RemoteDispatcher) -> str:
    """Without what is wrong: that names addresses and files, and whoever submits a group reads this."""
    return f"{peer.name} is away since {rfc3339(peer.since.wall)[:19]}Z"
