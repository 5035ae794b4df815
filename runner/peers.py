"""The runners that a task may be sent to: this one, and those that it was told of by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from runner.clock import rfc3339
from runner.dispatch.base import Dispatcher, GroupDispatcher
from runner.dispatch.remote import RemoteDispatcher
from runner.engine.targets import Changed, Refusal, Unreachable
from runner.model.fault import nearest
from runner.model.load import Load
from runner.model.result import Reason
from runner.model.task import Forward

MOST_NAMED = 20
"""Of so many runners it is said what each lacks, and of one so many types."""


class Types(Protocol):
    """What is needed of a `Registry`."""

    @property
    def types(self) -> Collection[str]: ...


class Own(Struct, frozen=True, kw_only=True):
    """This runner itself. What may change while it runs is asked for."""

    dispatcher: Dispatcher
    types: Types
    labels: Callable[[], Mapping[str, str]]
    load: Callable[[], Load]


class _Candidate(Struct, frozen=True, kw_only=True):
    name: str
    dispatcher: Dispatcher
    types: Collection[str]
    labels: Mapping[str, str]
    burden: float


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
        self._reach = reach
        self._changed: Changed = lambda name, there: None

    def __iter__(self) -> Iterator[RemoteDispatcher]:
        return iter(list(self._peers.values()))

    def add(self, peer: RemoteDispatcher) -> None:
        """One that nothing was handed to in a former life. What waits for a runner is decided anew."""
        self._know(peer)
        peer.reconcile(())
        self._changed(peer.name, False)

    def remove(self, name: str, why: str) -> None:
        """It is no peer any more, and what it carries out is lost; `why` is for a person."""
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.retire(why)
            self._changed(name, False)

    def _know(self, peer: RemoteDispatcher) -> None:
        self._peers[peer.name] = peer
        peer.on_change = self._changed

    @property
    def here(self) -> Dispatcher:
        return self._own.dispatcher

    def choose(self, forward: Forward, types: Collection[str]) -> Dispatcher | Unreachable | Refusal:
        if forward.to is not None:
            return self._called(forward.to, types)
        return self._fitting(forward.labels, types)

    def named(self, runner: str) -> Dispatcher:
        peer = self._peers.get(runner)
        if peer is None and ":" in runner and (peer := self._reach(runner)) is not None:
            self._know(peer)  # and it is told at the end of the engine's start what it has
        return self.here if peer is None else peer

    def peer(self, runner: str) -> GroupDispatcher:
        return self._peers[runner]

    def all(self) -> Iterable[Dispatcher]:
        return (self.here, *self._peers.values())

    def subscribe(self, changed: Changed) -> None:
        self._changed = changed
        for peer in self._peers.values():
            peer.on_change = changed

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
            known = f"it can do {', '.join(sorted(hello.types)[:MOST_NAMED])}"
            return Refusal(reason=Reason.UNKNOWN_TYPE, message=f"{name} has no task type {missing!r}: {known}")
        return peer

    def _fitting(self, labels: Mapping[str, str], types: Collection[str]) -> Dispatcher | Unreachable:
        lacking = []
        candidates = []
        for candidate in self._candidates():
            lack = _lack(candidate, labels, types)
            if lack is None:
                candidates.append(candidate)
            else:
                lacking.append(f"{candidate.name} {lack}")
        if candidates:
            return min(candidates, key=lambda candidate: (candidate.burden, candidate.name)).dispatcher
        # One that is away may have changed, so that nobody is ruled out for good.
        lacking += [_away(peer) for peer in self._peers.values() if not peer.is_there]
        wanted = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        more = [] if len(lacking) <= MOST_NAMED else [f"and {len(lacking) - MOST_NAMED} more"]
        return Unreachable(why=f"no runner fits {wanted}: {'; '.join([*lacking[:MOST_NAMED], *more])}")

    def _candidates(self) -> Iterable[_Candidate]:
        yield _Candidate(
            name=self.here.name,
            dispatcher=self.here,
            types=self._own.types.types,
            labels=self._own.labels(),
            burden=_burden(self._own.load()),
        )
        for peer in self._peers.values():
            if (hello := peer.hello) is not None:
                yield _Candidate(
                    name=peer.name,
                    dispatcher=peer,
                    types=hello.types,
                    labels=hello.labels,
                    burden=_burden(peer.load),
                )


def _burden(load: Load) -> float:
    """How much each slot has to do."""
    return (load.taken + load.waiting) / max(1, load.slots)


def _lack(candidate: _Candidate, labels: Mapping[str, str], types: Collection[str]) -> str | None:
    """What a runner has not that is wanted; None where it fits."""
    for name, value in labels.items():
        if name not in candidate.labels:
            return f"has no label {name}"
        if candidate.labels[name] != value:
            return f"has {name}={candidate.labels[name]}"
    missing = _missing(types, candidate.types)
    return None if missing is None else f"has no task type {missing!r}"


def _missing(types: Collection[str], known: Collection[str]) -> str | None:
    """The first of the types that is not known; None where all are."""
    return next((type for type in sorted(types) if type not in known), None)


def _away(peer: RemoteDispatcher) -> str:
    return f"{peer.name} is away since {rfc3339(peer.since.wall)} ({peer.trouble})"
