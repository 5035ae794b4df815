"""Has attempts carried out by another runner, over a session that may break and begin again at any time.

Nothing is kept for a connection. Whatever this runner has handed out is handed out again with each session: that attaches to what
the peer knows, and it repeats what was not recorded here. A broken line is no failure, until it has lasted for so long that nobody
counts on the peer any more: then its attempts are `errored` (`runner_lost`), and the peer ends them when it comes back and hears that
they are not wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from msgspec.structs import replace

from runner.clock import Clock, Moment, Timer
from runner.dispatch.base import Sink
from runner.dispatch.claims import late, refusal, told
from runner.dispatch.handed import Copies, Handed, HandedGroup, HandedTask
from runner.dispatch.questions import Answered, Questions
from runner.dispatch.releases import Releases
from runner.dispatch.unheard import Unheard
from runner.errors import UsageError
from runner.model.dispatch import PAUSES, WHOLE, AttemptId, Dispatch, Finished, GroupDispatch, Report
from runner.model.load import Load
from runner.model.peer import PeerState
from runner.model.result import Outcome, Reason, Status
from runner.model.session import (
    Acknowledge,
    Afresh,
    Begin,
    Cancel,
    Checked,
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
    hop,
)
from runner.model.task import Task

Send = Callable[[FromOrigin], None]

_log = logging.getLogger(__name__)


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
        self.namesake: Callable[[ExecutorHello], str | None] = lambda hello: None
        """What else the runner that says this is called here; None where nothing."""
        self.is_over: Callable[[str], bool] = lambda group: False
        """Whether nothing of a group of this runner can be wanted any more."""
        self.trouble = "it was not reached yet"
        """Why it is not there, where it is not."""
        self.under_way = 0
        """How much was handed to it that is not over."""
        self._name = name
        self._node = node
        self._own_name = own_name
        self._clock = clock
        self._logs = logs
        self._lost_after = lost_after
        self._lost = f"{name} has been away for {lost_after:g} s"
        """Why it is given up, if it is."""
        self._hello: ExecutorHello | None = None
        self._load = Load(slots=0, taken=0, waiting=0)
        self._send: Send | None = None
        self._since: Moment = clock.now()
        self._lost_timer: Timer | None = None
        self._handed: dict[AttemptId, Handed] = {}
        self._cancelled_first: dict[AttemptId, float] = {}
        """Attempts that were to be ended before they were handed to this."""
        self._unheard = Unheard()
        self._groups: set[str] = set()
        """Of which something was handed to it."""
        self._releases = Releases()
        self._questions = Questions()
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
        self._take(dispatch.id, lambda: HandedTask(dispatch, self._name, self._logs))

    def submit_group(self, dispatch: GroupDispatch) -> None:
        self._take(dispatch.id, lambda: HandedGroup(dispatch, self._name, self._logs))

    def _take(self, id: AttemptId, make: Callable[[], Handed]) -> None:
        self._groups.add(id.group)
        if id not in self._handed:
            self._handed[id] = make()
            self.under_way += 1
            self._watch_for_loss()
            if id in self._cancelled_first:
                self.cancel(id, self._cancelled_first.pop(id))

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        self._sink = sink
        handed = self._handed.get(id)
        if handed is not None and not handed.is_over:
            handed.heard = max(handed.heard, after)
            self._hand_over(handed)

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        handed = self._handed.get(id)
        if handed is not None and handed.is_over and sequence >= handed.heard:
            del self._handed[id]
        self._tell(Acknowledge(id=id, sequence=sequence))

    def cancel(self, id: AttemptId, grace: float) -> None:
        if id in self._unheard:
            self._unheard.cancel(id, grace)
            self._tell(Cancel(id=id, grace=grace))
            return
        handed = self._handed.get(id)
        if handed is None:
            # What a former life has stopped is handed over again only when it is safe that it was, and that may take a while.
            self._cancelled_first[id] = min(grace, self._cancelled_first.get(id, grace))
            return
        if handed.is_over or (handed.cancel_grace is not None and handed.cancel_grace <= grace):
            return
        handed.cancel_grace = grace
        if handed.may_be_known:
            self._tell(Cancel(id=id, grace=grace))
        else:  # nobody else has ever heard of it
            self._clock.call_soon(partial(self._end, handed, Status.ABORTED))

    def signal(self, id: AttemptId, signal: str) -> None:
        handed = self._part_of(id)
        if handed is None or handed.is_over:
            return
        pauses = signal in PAUSES
        if pauses:
            handed.pause(id, paused=signal == "pause")
        if self._send is not None:
            self._send(Signal(id=id, signal=signal))
        elif not pauses:  # which its submission says
            handed.signals.append((id, signal))

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        wanted = set(live)
        self._forget(lambda id: id not in wanted)
        self._is_ready = True
        self._on_ready()

    def release(self, group: str) -> None:
        if self._cancelled_first or group in self._groups:
            for handed in self._under_way():
                if handed.id.group == group:
                    self._unheard.add(handed)
            self._forget(lambda id: id.group == group)
        self._groups.discard(group)  # or it was handed out by a former life, and was over by the end of that
        self._releases.add(group)
        if (send := self._send) is not None:
            self._releases.tell(self._clock.now().boot, lambda group: send(Release(group=group)))

    def retire(self, why: str) -> None:
        """It is no peer any more. Nothing is sent to it from now on, and what it carries out is lost."""
        self.disconnected(why)
        if self._lost_timer is not None:
            self._lost_timer.cancel()
        self._lost_after, self._lost = 0.0, f"{self._name} is no peer of this runner any more"
        self._lose()

    def check(self, tasks: Sequence[Task], on_behalf_of: str, answered: Answered) -> None:
        """Ask what it would say of these tasks. `answered` is called once: with its faults, whose paths begin with the place of the task
        among these, or with None where it cannot be heard."""
        self._questions.ask(tasks, on_behalf_of, answered, self._send)

    # What is known of the peer.

    @property
    def is_there(self) -> bool:
        return self._send is not None

    @property
    def hello(self) -> ExecutorHello | None:
        """What it has said of itself; None while it is away."""
        return self._hello if self.is_there else None

    def may_be(self, hello: ExecutorHello) -> bool:
        """Whether the runner that says this is this peer, and has something or may be given it by this name. One that documents call by its
        address gives way to its name as soon as it has nothing."""
        if any(handed.instance == hello.instance for handed in self._under_way()):
            return True
        is_wanted = self.under_way > 0 or (self.is_there and ":" not in self._name)
        return is_wanted and self._hello is not None and self._hello.node == hello.node

    @property
    def load(self) -> Load:
        """As it was told last."""
        return self._load

    @property
    def since(self) -> Moment:
        """When it came or went last; before it was reached, when this runner began to look for it."""
        return self._since

    @property
    def state(self) -> PeerState:
        hello = self._hello
        return PeerState(
            name=self._name,
            own_name=hello.name if hello else "",
            there=self.is_there,
            since=self._since.wall,
            trouble="" if self.is_there else self.trouble,
            running=self.under_way,
            types=tuple(sorted(hello.types)) if hello else (),
            labels=hello.labels if hello else {},
        )

    # What the session tells.

    def when_ready(self, ready: Callable[[], None]) -> None:
        """Call `ready` once it is known what a former life has handed to the peer, which may be now. No session may begin before: what it
        does not name as live then, the peer ends."""
        self._on_ready = ready
        if self._is_ready:
            ready()

    def greeting(self) -> OriginHello:
        return OriginHello(node=self._node, name=self._own_name)

    def connected(self, hello: ExecutorHello, send: Send) -> None:
        """The peer has answered the greeting. Everything that is under way is handed to it anew, by `send`, which never blocks. Raises
        UsageError where it is known here by another name: the session must not begin, for it would end what was handed to that."""
        if (namesake := self.namesake(hello)) is not None:
            raise UsageError(f"it is the runner that is called {namesake} here, and can be called by one name alone")
        self._hello, self._load, self._send = hello, hello.load, send
        self._since = self._clock.now()
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None
        for handed in self._handed.values():
            handed.is_handed_over = False
        send(Begin(live=tuple(handed.id for handed in self._under_way())))
        for group in hello.kept:  # also since a former life of this runner, which could not tell
            if group not in self._groups and self.is_over(group):
                self._releases.add(group)
        self._releases.tell(self._since.boot, lambda group: send(Release(group=group)))
        self._unheard.ask(send)
        for handed in self._under_way():
            self._hand_over(handed)
        _log.info("peer %s is there", self._name, extra={"action": "peer_back", "peer": self._name})
        self.on_change(self._name, True)

    def heard(self, message: FromExecutor) -> None:
        """Raises OSError where a log cannot be written: the session has to end, and the next one begins there."""
        match message:
            case Reported(report=report):
                self._report(report)
            case Printed() | Afresh():
                handed = self._part_of(message.id)
                if handed is not None and not handed.is_over:
                    handed.printed(message)
            case Refused(id=id, message=text):
                handed, reason = self._handed.get(id), refusal(message.reason)
                if id in self._unheard:
                    outcome = Outcome(status=Status.ERRORED, reason=reason, finished_at=self._clock.now().wall)
                    self._report(Finished(id=id, sequence=1, outcome=outcome))
                elif handed is not None:
                    if reason == Reason.RUNNER_LOST:
                        self._unheard.add(handed)
                    self._end(handed, Status.ERRORED, reason, f"{self._name} does not take it: {told(text)}")
            case Loaded(load=load):
                self._load = load
            case Checked():
                self._questions.answer(message)

    def disconnected(self, why: str) -> None:
        """The session has ended, or none could begin."""
        known, self.trouble = self.trouble, why
        if self._send is None:
            if why != known:
                _log.warning("peer %s: %s", self._name, why, extra={"action": "peer_unreachable", "peer": self._name})
            return
        self._send = None
        self._since = self._clock.now()
        self._releases.cut(self._since.boot)
        self._questions.cut()
        _log.warning("peer %s is away: %s", self._name, why, extra={"action": "peer_lost", "peer": self._name})
        self._watch_for_loss()
        self.on_change(self._name, False)

    # Handing over.

    def _hand_over(self, handed: Handed) -> None:
        if self._send is None or handed.is_handed_over:
            return
        if not handed.may_be_known and handed.cancel_grace is not None:
            return  # it is ended here
        handed.is_handed_over = handed.may_be_known = True
        self._send(handed.submission(hop(self._own_name, self._node)))
        signals, handed.signals = handed.signals, []
        for id, signal in signals:
            self._send(Signal(id=id, signal=signal))

    def _tell(self, message: FromOrigin) -> None:
        if self._send is not None:
            self._send(message)

    def _report(self, report: Report) -> None:
        handed = self._handed.get(report.id)
        if handed is None or report.id in self._unheard:
            # Of one that is over here since it was given up: how it ended becomes an event at most.
            if isinstance(report, Finished):
                self._unheard.remove(report.id)
                self._sink(replace(report, outcome=late(report.outcome)))
                self._tell(Acknowledge(id=report.id, sequence=report.sequence))
        elif not handed.is_over and report.sequence > handed.heard:
            taken = handed.taken(report)
            handed.heard = report.sequence
            if isinstance(report, Finished):
                self._over(handed)
            if taken is not None:
                self._sink(taken)

    def _end(self, handed: Handed, status: Status, reason: str | None = None, error: str | None = None) -> None:
        """How it ended is said by this runner itself."""
        if not handed.is_over:
            handed.heard += 1
            self._over(handed)
            now = self._clock.now().wall
            outcome = Outcome(status=status, reason=reason, error=error, finished_at=now)
            self._sink(Finished(id=handed.id, sequence=handed.heard, outcome=outcome))

    # Losing it.

    def _watch_for_loss(self) -> None:
        if self._send is None and self._lost_timer is None and self._handed:
            now = self._clock.now().boot
            # What was handed out while it was away, and what a former life has, gets all of the time.
            self._lost_timer = self._clock.call_at(now + self._lost_after, self._lose)

    def _lose(self) -> None:
        self._lost_timer = None
        for handed in self._under_way():
            self._unheard.add(handed)
            self._end(handed, Status.ERRORED, Reason.RUNNER_LOST, f"{self._lost}; the attempt may still run there")

    def _over(self, handed: Handed) -> None:
        if not handed.is_over:
            self.under_way -= 1
        handed.end()

    def _part_of(self, id: AttemptId) -> Handed | None:
        """What was handed out and has this attempt: itself, or its whole group."""
        return self._handed.get(id) or self._handed.get(id._replace(task=WHOLE, attempt=1))

    def _under_way(self) -> list[Handed]:
        return [handed for handed in self._handed.values() if not handed.is_over]

    def _forget(self, unwanted: Callable[[AttemptId], bool]) -> None:
        for id in [id for id in self._cancelled_first if unwanted(id)]:
            del self._cancelled_first[id]
        for id in [id for id in self._handed if unwanted(id)]:
            self._over(self._handed.pop(id))
