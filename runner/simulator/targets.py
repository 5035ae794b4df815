"""Other runners for the engine of one life: the twin of what reaches them over a network, with links that break when they are told to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from runner.clock import Clock, Timer
from runner.dispatch.base import Dispatcher, GroupDispatcher, Sink
from runner.engine.targets import Changed, Gone, Refusal, Unreachable
from runner.model.dispatch import AttemptId, Dispatch, Finished, Report, Started
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Forward
from runner.simulator.executor import ScriptedExecutor


@dataclass(slots=True)
class _Kept:
    """An attempt that was handed to the other runner, until the engine has acknowledged its end."""

    dispatch: Dispatch
    heard: int = 0
    """The last report that the engine was given."""
    sink: Sink | None = None
    started_at: float | None = None
    acknowledged: int = 0
    lost: int = 0
    """The number of the report that told that its runner was lost; 0 where none did."""
    end: int = 0
    """The number of the report that told how it has really ended; 0 before that."""

    @property
    def settled(self) -> bool:
        return 0 < self.end <= self.acknowledged


class Link:
    """Implements `Dispatcher` over the executor of another runner, for one life of an engine. While it is down nothing passes,
    in either direction; when it is back all that is under way is said again. After `lost_after` seconds the attempts there
    are reported as lost, and how they end is told late."""

    def __init__(self, executor: ScriptedExecutor, clock: Clock, *, lost_after: float = 300.0, up: bool = True) -> None:
        self._executor = executor
        self._clock = clock
        self._lost_after = lost_after
        self._kept: dict[AttemptId, _Kept] = {}
        self._listening_first: dict[AttemptId, tuple[int, Sink]] = {}
        self._cancels: dict[AttemptId, float] = {}
        self._signals: list[tuple[AttemptId, str]] = []
        self._live: set[AttemptId] | None = None
        """What is wanted of what a former engine has left; None once that was said."""
        self._released: list[str] = []
        self._giving_up: Timer | None = None
        self.changed: Callable[[bool], None] = lambda up: None
        self.up = up
        if not up:
            self._arm()

    @property
    def name(self) -> str:
        return self._executor.name

    @property
    def instance(self) -> str:
        return self._executor.instance

    # The connection.

    def breaks(self) -> None:
        self.up = False
        self._executor.disconnect()
        self._arm()
        self.changed(False)

    def comes_back(self) -> None:
        self.up = True
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self._live is not None:
            self._reconcile()
        for id, kept in list(self._kept.items()):
            if kept.acknowledged:
                self._executor.acknowledge(id, kept.acknowledged)
            if kept.settled:
                del self._kept[id]
            elif kept.lost and id not in self._executor.in_flight | self._executor.unacknowledged:
                del self._kept[id]  # it has never come there, and will not any more
            elif not kept.end:
                self._say(id, kept)
        signals, self._signals = self._signals, []
        for signal in signals:
            self._executor.signal(*signal)
        self._release()
        self.changed(True)

    def _arm(self) -> None:
        self._giving_up = self._clock.call_at(self._clock.now().boot + self._lost_after, self._give_up)

    def _say(self, id: AttemptId, kept: _Kept) -> None:
        if not kept.lost:
            self._executor.submit(kept.dispatch)
        if kept.sink is not None:
            self._executor.events(id, kept.heard, partial(self._pass_on, kept))
        if id in self._cancels:
            self._executor.cancel(id, self._cancels[id])

    def _pass_on(self, kept: _Kept, report: Report) -> None:
        assert kept.sink is not None, "nothing is asked of the executor before there is a sink"
        if isinstance(report, Started):
            kept.started_at = report.at
        if kept.lost and not isinstance(report, Finished):
            return
        kept.heard = max(kept.heard, report.sequence)
        if isinstance(report, Finished):
            kept.end = report.sequence
        kept.sink(report)

    def _give_up(self) -> None:
        self._giving_up = None
        for id, kept in list(self._kept.items()):
            if kept.sink is not None and not kept.end and not kept.lost:
                kept.lost = kept.heard + 1
                outcome = Outcome(
                    status=Status.ERRORED,
                    reason=Reason.RUNNER_LOST,
                    error=f"{self.name} was silent for {self._lost_after:g} s",
                    started_at=kept.started_at,
                    finished_at=self._clock.now().wall,
                )
                kept.sink(Finished(id=id, sequence=kept.lost, outcome=outcome))

    # What the engine asks.

    def submit(self, dispatch: Dispatch) -> None:
        kept = self._kept.get(dispatch.id)
        if kept is None:
            kept = self._kept[dispatch.id] = _Kept(dispatch, started_at=dispatch.started_at)
            kept.heard, kept.sink = self._listening_first.pop(dispatch.id, (0, None))
            if self._live is not None:
                self._live.add(dispatch.id)
        if self.up:
            self._say(dispatch.id, kept)

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        kept = self._kept.get(id)
        if kept is not None:
            kept.heard, kept.sink = after, sink
            if self.up:
                self._say(id, kept)
        else:
            self._listening_first[id] = after, sink

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        kept = self._kept.get(id)
        if kept is None or (kept.lost and not kept.end):
            return  # the executor has not said that
        kept.acknowledged = sequence
        if self.up:
            self._executor.acknowledge(id, sequence)
            if kept.settled:
                del self._kept[id]
                self._release()

    def cancel(self, id: AttemptId, grace: float) -> None:
        self._cancels[id] = min(grace, self._cancels.get(id, grace))
        if self.up:
            self._executor.cancel(id, grace)

    def signal(self, id: AttemptId, signal: str) -> None:
        if self.up:
            self._executor.signal(id, signal)
        else:
            self._signals.append((id, signal))

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        self._live = set(live)
        for id in self._kept.keys() - self._live:
            del self._kept[id]
        if self.up:
            self._reconcile()

    def _reconcile(self) -> None:
        assert self._live is not None, "somebody has said what is wanted"
        self._executor.reconcile(self._live)
        self._live = None

    def release(self, group: str) -> None:
        self._released.append(group)
        self._release()

    def _release(self) -> None:
        """Not before the ends of all its attempts were told, however late."""
        held = {id.group for id in self._kept}
        for group in [group for group in self._released if self.up and group not in held]:
            self._released.remove(group)
            self._executor.release(group)


class ScriptedTargets:
    """Implements `Targets`: `here` and some other runners. Of those that have the labels that a task wants the first in the order
    of their names is chosen that is there; `here`, where it has them too, comes last."""

    def __init__(self, here: Dispatcher, *, labels: Mapping[str, str] | None = None) -> None:
        self.here = here
        self._labels = labels or {}
        self._peers: dict[str, tuple[Link, Dispatcher, Mapping[str, str]]] = {}
        self._changed: Changed = lambda runner, there: None

    def add(self, link: Link, *, labels: Mapping[str, str] | None = None, reached_by: Dispatcher | None = None) -> None:
        """`reached_by` stands in the place of the link for whoever uses it."""
        self._peers[link.name] = link, reached_by or link, labels or {}
        link.changed = partial(self._notice, link.name)

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        del types, hops  # every type is known everywhere
        if forward.to is not None and forward.to == self.here.name:
            return self.here
        fitting = [name for name in sorted(self._peers) if self._fits(forward, name)]
        for name in fitting:
            link, dispatcher, _ = self._peers[name]
            if link.up:
                return dispatcher
        if forward.to is None and forward.labels.items() <= self._labels.items():
            return self.here
        if fitting:
            return Unreachable(why=f"{', '.join(fitting)} cannot be reached")
        return Refusal(reason=Reason.NO_SUCH_RUNNER, message=_nobody(forward))

    def named(self, runner: str) -> Dispatcher:
        return self._peers[runner][1] if runner in self._peers else self.here

    def peer(self, executor: Dispatcher) -> GroupDispatcher | None:
        raise NotImplementedError("no whole group is forwarded to this twin")

    def all(self) -> Sequence[Dispatcher]:
        return [self.here, *(dispatcher for _, dispatcher, _ in self._peers.values())]

    def subscribe(self, changed: Changed, gone: Gone) -> None:
        del gone  # nobody stops being a peer
        self._changed = changed

    def _fits(self, forward: Forward, name: str) -> bool:
        if forward.to is not None:
            return forward.to == name
        return forward.labels.items() <= self._peers[name][2].items()

    def _notice(self, name: str, up: bool) -> None:
        self._changed(name, up)


def _nobody(forward: Forward) -> str:
    if forward.to is not None:
        return f"there is no runner {forward.to!r}"
    return f"no runner has the labels {', '.join(f'{key}={value}' for key, value in forward.labels.items())}"
