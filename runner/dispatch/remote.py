"""Has attempts carried out by another runner, over a session that may break and begin again at any time.

Nothing is kept for a connection. Whatever this runner has handed out is handed out again with each session: that attaches to what
the peer knows, and it repeats what was not recorded here. A broken line is no failure, until it has lasted for so long that nobody
counts on the peer any more: then its attempts are `errored` (`runner_lost`), and the peer ends them when it comes back and hears that
they are not wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec.structs import replace

from runner.clock import Clock, Moment, Timer
from runner.dispatch.base import Sink
from runner.errors import StoreCorruptError
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report
from runner.model.event import Kind
from runner.model.log import Stream
from runner.model.peer import PeerState
from runner.model.result import Outcome, Reason, Status
from runner.model.session import (
    Acknowledge,
    Afresh,
    Cancel,
    Capacity,
    ExecutorHello,
    FromExecutor,
    FromOrigin,
    Loaded,
    OriginHello,
    Printed,
    Refused,
    Release,
    Reported,
    Signal,
    Submit,
    hop,
)

MOST_RELEASES = 100_000
"""That a peer which is away is told of when it is back; it forgets the others by itself, in a week."""

Send = Callable[[FromOrigin], None]

_log = logging.getLogger(__name__)


class Copy(Protocol):
    """What is needed of a `LogCopy`, whose methods these are."""

    @property
    def position(self) -> int: ...

    def append(self, stream: Stream, data: bytes, position: int) -> None: ...

    def afresh(self) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class Copies(Protocol):
    """What is needed of a `LogStore`, whose method this is."""

    def copy(self, id: AttemptId) -> Copy: ...


class RemoteDispatcher:
    """Implements `Dispatcher` over one peer. It is used from the thread of `clock`; the session that brings it together with the
    peer waits for `when_ready`, and calls `greeting`, `connected`, `heard` and `disconnected`."""

    def __init__(
        self,
        name: str,
        *,
        node: str,
        own_name: str,
        clock: Clock,
        logs: Copies,
        lost_after: float,
    ) -> None:
        """`name` is what this runner calls the peer, `own_name` what it calls itself; `node` is the identity of its state.
        `lost_after` in seconds."""
        self.on_change: Callable[[str, bool], None] = lambda name, there: None
        """Told whenever the peer has come or gone."""
        self.trouble = "it was not reached yet"
        """Why it is not there, where it is not."""
        self._name = name
        self._node = node
        self._own_name = own_name
        self._clock = clock
        self._logs = logs
        self._lost_after = lost_after
        self._hello: ExecutorHello | None = None
        self._capacity = Capacity(slots=0, taken=0, waiting=0)
        self._send: Send | None = None
        self._since: Moment = clock.now()
        self._lost_timer: Timer | None = None
        self._handed: dict[AttemptId, _Handed] = {}
        self._groups: set[str] = set()
        """Of which something was handed to it."""
        self._releases: dict[str, None] = {}
        """The groups that it has to be told of when it is back."""
        self._sink: Sink = lambda report: None
        self._is_ready = False
        self._on_ready: Callable[[], None] = lambda: None

    # What the engine asks: `Dispatcher`.

    @property
    def name(self) -> str:
        return self._name

    @property
    def instance(self) -> str:
        return "" if self._hello is None else self._hello.instance

    def submit(self, dispatch: Dispatch) -> None:
        self._groups.add(dispatch.id.group)
        if dispatch.id not in self._handed:
            self._handed[dispatch.id] = _Handed(dispatch)
            self._watch_for_loss()

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        self._sink = sink
        handed = self._handed.get(id)
        if handed is not None and not handed.over:
            handed.heard = max(handed.heard, after)
            self._hand_over(handed)

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        handed = self._handed.get(id)
        if handed is not None and handed.over and sequence >= handed.heard:
            del self._handed[id]
        self._tell(Acknowledge(id=id, sequence=sequence))

    def cancel(self, id: AttemptId, grace: float) -> None:
        handed = self._handed.get(id)
        if handed is None or handed.over:
            return
        if handed.cancel_grace is not None and handed.cancel_grace <= grace:
            return
        handed.cancel_grace = grace
        if handed.may_be_known:
            self._tell(Cancel(id=id, grace=grace))
        else:  # nobody else has ever heard of it
            self._clock.call_soon(lambda: self._end(handed, Outcome(status=Status.ABORTED, finished_at=self._wall())))

    def signal(self, id: AttemptId, signal: str) -> None:
        handed = self._handed.get(id)
        if handed is None or handed.over:
            return
        if signal in ("pause", "start"):
            handed.dispatch = replace(handed.dispatch, paused=signal == "pause")
        if self._send is not None:
            self._tell(Signal(id=id, signal=signal))
        elif signal not in ("pause", "start"):
            handed.signals.append(signal)

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        wanted = set(live)
        for id in [id for id in self._handed if id not in wanted]:
            self._handed.pop(id).close()
        self._is_ready = True
        self._on_ready()

    def release(self, group: str) -> None:
        if group not in self._groups:
            return
        self._groups.discard(group)
        for id in [id for id in self._handed if id.group == group]:
            self._handed.pop(id).close()
        if self._send is not None:
            self._tell(Release(group=group))
        elif len(self._releases) < MOST_RELEASES:
            self._releases[group] = None

    # What is known of the peer.

    @property
    def is_there(self) -> bool:
        return self._send is not None

    @property
    def hello(self) -> ExecutorHello | None:
        """What it has said of itself last."""
        return self._hello

    @property
    def capacity(self) -> Capacity:
        """As it was told last."""
        return self._capacity

    @property
    def state(self) -> PeerState:
        hello = self._hello
        return PeerState(
            name=self._name,
            own_name=hello.name if hello else "",
            there=self.is_there,
            since=self._since.wall,
            trouble="" if self.is_there else self.trouble,
            running=sum(not handed.over for handed in self._handed.values()),
            types=tuple(sorted(hello.types)) if hello else (),
            labels=hello.labels if hello else {},
        )

    # What the session tells.

    def when_ready(self, ready: Callable[[], None]) -> None:
        """Call `ready` once it is known what a former life has handed to the peer, which may be now. No session may begin before: what its
        greeting does not name the peer ends."""
        self._on_ready = ready
        if self._is_ready:
            ready()

    def greeting(self) -> OriginHello:
        return OriginHello(
            node=self._node,
            name=self._own_name,
            live=tuple(id for id, handed in self._handed.items() if not handed.over),
        )

    def connected(self, hello: ExecutorHello, send: Send) -> None:
        """The peer has answered the greeting. Everything that is under way is handed to it anew, by `send`, which never blocks."""
        self._hello, self._capacity, self._send = hello, hello.capacity, send
        self._since = self._clock.now()
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None
        for handed in self._handed.values():
            handed.is_handed_over = False
        releases, self._releases = self._releases, {}
        for group in releases:
            self._tell(Release(group=group))
        for handed in list(self._handed.values()):
            if not handed.over:
                self._hand_over(handed)
        _log.info("peer %s is there", self._name, extra={"action": "peer_back", "peer": self._name})
        self.on_change(self._name, True)

    def heard(self, message: FromExecutor) -> None:
        """Raises OSError where a log cannot be written: the session has to end, and the next one begins there."""
        match message:
            case Reported(report=report):
                self._report(report)
            case Printed() | Afresh():
                handed = self._handed.get(message.id)
                if handed is not None and not handed.over:
                    self._copy(handed, message)
            case Refused(id=id, reason=reason, message=text):
                handed = self._handed.get(id)
                if handed is not None:
                    error = f"{self._name} does not take it: {text}"
                    outcome = Outcome(status=Status.ERRORED, reason=reason, error=error, finished_at=self._wall())
                    self._end(handed, outcome)
            case Loaded(capacity=capacity):
                self._capacity = capacity

    def disconnected(self, why: str) -> None:
        """The session has ended, or none could begin."""
        known, self.trouble = self.trouble, why
        if self._send is None:
            if why != known:
                _log.warning("peer %s: %s", self._name, why, extra={"action": "peer_unreachable", "peer": self._name})
            return
        self._send = None
        self._since = self._clock.now()
        _log.warning("peer %s is away: %s", self._name, why, extra={"action": "peer_lost", "peer": self._name})
        self._watch_for_loss()
        self.on_change(self._name, False)

    # Handing over.

    def _hand_over(self, handed: _Handed) -> None:
        if self._send is None or handed.is_handed_over:
            return
        if not handed.may_be_known and handed.cancel_grace is not None:
            return  # it is ended here
        handed.is_handed_over = handed.may_be_known = True
        self._tell(
            Submit(
                dispatch=handed.dispatch,
                hops=(hop(self._own_name, self._node),),
                after=handed.heard,
                printed=self._copied(handed),
                cancel_grace=handed.cancel_grace,
            )
        )
        signals, handed.signals = handed.signals, []
        for signal in signals:
            self._tell(Signal(id=handed.dispatch.id, signal=signal))

    def _copied(self, handed: _Handed) -> int:
        """How far its log is here."""
        try:
            return handed.copy(self._logs).position
        except (OSError, StoreCorruptError) as error:
            self._copy_no_more(handed, error)
            return 0

    def _copy(self, handed: _Handed, said: Printed | Afresh | None) -> None:
        """A piece of its log; None: what came afresh has come. Raises OSError."""
        if not handed.is_copied:
            return
        copy = handed.copy(self._logs)
        try:
            match said:
                case Printed(data=data, missing=missing):
                    note = f"\n[{missing:,} bytes are not kept]\n".encode() if missing else b""
                    copy.append(said.stream, note + data, said.position)
                case Afresh():
                    copy.afresh()
                case None:
                    copy.settle()
        except StoreCorruptError as error:
            self._copy_no_more(handed, error)

    def _copy_no_more(self, handed: _Handed, error: Exception) -> None:
        _log.error("the log of %s cannot be copied: %s", handed.dispatch.id, error, extra={"action": "log_copy"})
        handed.is_copied = False

    def _tell(self, message: FromOrigin) -> None:
        if self._send is not None:
            self._send(message)

    def _report(self, report: Report) -> None:
        handed = self._handed.get(report.id)
        if handed is None:
            # Of one that is over here since it was given up: how it ended becomes an event at most.
            if isinstance(report, Finished):
                self._sink(report)
                self._tell(Acknowledge(id=report.id, sequence=report.sequence))
        elif not handed.over and report.sequence > handed.heard:
            if isinstance(report, Noticed) and report.kind is Kind.LOG_REDACTED:
                self._copy(handed, None)
            handed.heard = report.sequence
            if isinstance(report, Finished):
                handed.end()
            self._sink(report)

    def _end(self, handed: _Handed, outcome: Outcome) -> None:
        """How it ended is said by this runner itself."""
        if not handed.over:
            handed.heard += 1
            handed.end()
            self._sink(Finished(id=handed.dispatch.id, sequence=handed.heard, outcome=outcome))

    # Losing it.

    def _watch_for_loss(self) -> None:
        if self._send is None and self._lost_timer is None and self._handed:
            now = self._clock.now().boot
            # What was handed out while it was away, and what a former life has, gets all of the time.
            self._lost_timer = self._clock.call_at(now + self._lost_after, self._lose)

    def _lose(self) -> None:
        self._lost_timer = None
        since = f"for {self._lost_after:g} s"
        for handed in list(self._handed.values()):
            if not handed.over:
                error = f"{self._name} has been away {since} ({self.trouble}); the attempt may still run there"
                outcome = Outcome(
                    status=Status.ERRORED, reason=Reason.RUNNER_LOST, error=error, finished_at=self._wall()
                )
                self._end(handed, outcome)

    def _wall(self) -> float:
        return self._clock.now().wall


class _Handed:
    """One attempt that was handed to the peer. `heard` is the last report that was passed on; `may_be_known` tells that the peer may
    know it; `over` that its end was passed on."""

    __slots__ = (
        "_copy", "cancel_grace", "dispatch", "heard", "is_copied", "is_handed_over", "may_be_known", "over", "signals",
    )  # fmt: skip

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self.heard = 0
        self.cancel_grace: float | None = None
        self.signals: list[str] = []
        self.may_be_known = dispatch.resumed
        self.is_handed_over = False
        """In the present session."""
        self.over = False
        self.is_copied = True
        """What it prints is kept here."""
        self._copy: Copy | None = None

    def copy(self, logs: Copies) -> Copy:
        if self._copy is None:
            self._copy = logs.copy(self.dispatch.id)
        return self._copy

    def end(self) -> None:
        self.over = True
        self.close()

    def close(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None
