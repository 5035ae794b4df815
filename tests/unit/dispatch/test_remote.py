"""What an origin hands to a peer, over sessions that begin and end."""

from __future__ import annotations

import errno

import pytest
from msgspec.structs import replace

from runner.dispatch.handed import Copy
from runner.dispatch.remote import RemoteDispatcher
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.load import Load
from runner.model.log import Stream
from runner.model.peer import PeerState
from runner.model.result import Outcome, Reason, Status
from runner.model.session import (
    Acknowledge,
    Afresh,
    Begin,
    Cancel,
    ExecutorHello,
    FromOrigin,
    Loaded,
    OriginHello,
    Printed,
    Refused,
    Release,
    Reported,
    Signal,
    Submit,
)
from runner.model.task import Task
from runner.simulator.clock import VirtualClock
from tests.unit.dispatch.harness import bindings

LOST_AFTER = 300.0
ID = AttemptId("g", "t", 1)
SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0)
LOAD = Load(slots=4, taken=0, waiting=0)
HELLO = ExecutorHello(node="n2", name="their-name", instance="i2", types=frozenset({"probe"}), load=LOAD)


class Origin:
    """An engine that is a list, and a peer that is another."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.logs = MemoryLogStore(call_soon=self.clock.call_soon)
        self.reports: list[Report] = []
        self.told: list[FromOrigin] = []
        self.changes: list[tuple[str, bool]] = []
        self.dispatcher = self.new()

    def new(self) -> RemoteDispatcher:
        """Another life of the origin."""
        self.dispatcher = RemoteDispatcher(
            "onprem", node="n1", own_name="cloud", clock=self.clock, logs=self.logs, lost_after=LOST_AFTER
        )
        self.dispatcher.on_change = lambda name, there: self.changes.append((name, there))
        return self.dispatcher

    def dispatch(self, id: AttemptId = ID, *, resumed: bool = False, paused: bool = False) -> Dispatch:
        return Dispatch(
            id=id, instance="i2", task=Task(name=id.task, type="probe"), bindings=bindings(), workspace="/w",
            resumed=resumed, paused=paused,
        )  # fmt: skip

    def send(self, id: AttemptId = ID, *, after: int = 0, resumed: bool = False) -> None:
        self.dispatcher.submit(self.dispatch(id, resumed=resumed))
        self.dispatcher.events(id, after, self.reports.append)

    def connect(self, hello: ExecutorHello = HELLO) -> Begin:
        """A new session: how it begins. What is told behind that is in `told`."""
        self.told = []
        assert self.dispatcher.greeting() == OriginHello(node="n1", name="cloud")
        self.dispatcher.connected(hello, self.told.append)
        begin = self.told.pop(0)
        assert isinstance(begin, Begin)
        return begin

    def hear(self, *reports: Report) -> None:
        for report in reports:
            self.dispatcher.heard(Reported(report=report))

    def submitted(self) -> list[Submit]:
        return [message for message in self.told if isinstance(message, Submit)]

    def finished(self) -> list[Finished]:
        return [report for report in self.reports if isinstance(report, Finished)]

    def pass_seconds(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)


@pytest.fixture
def origin() -> Origin:
    return Origin()


def started(sequence: int = 3, id: AttemptId = ID) -> Started:
    return Started(id=id, sequence=sequence, at=1.0, handle=b"")


def finished(sequence: int = 9, id: AttemptId = ID, outcome: Outcome = SUCCESS) -> Finished:
    return Finished(id=id, sequence=sequence, outcome=outcome)


def test_an_attempt_is_handed_over_once_and_its_reports_come_back(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.send()
    [submit] = origin.submitted()
    assert (submit.dispatch.id, submit.after, submit.printed, submit.hops) == (ID, 0, 0, ("cloud (n1)",))
    origin.hear(started(), finished())
    assert origin.reports == [started(), finished()]
    origin.dispatcher.acknowledge(ID, 9)
    assert origin.told[-1] == Acknowledge(id=ID, sequence=9)
    assert origin.connect().live == ()
    assert origin.told == []


def test_what_is_heard_again_is_told_once(origin: Origin) -> None:
    origin.connect()
    origin.send()
    paused = Noticed(id=ID, sequence=5, kind=Kind.TASK_PAUSED)
    origin.hear(started(), paused, started(), paused, finished(), finished(), paused)
    assert origin.reports == [started(), paused, finished()]


def test_a_new_session_attaches_behind_what_was_heard(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.hear(started())
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=17, data=b"hello"))
    origin.dispatcher.disconnected("cut")
    assert not origin.dispatcher.is_there
    assert origin.connect().live == (ID,)
    [submit] = origin.submitted()
    assert (submit.after, submit.printed) == (3, 17)
    assert origin.changes == [("onprem", True), ("onprem", False), ("onprem", True)]


def test_another_life_attaches_behind_what_was_recorded_and_copied(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.hear(started())
    origin.dispatcher.heard(Printed(id=ID, stream="stderr", position=17, data=b"hello"))
    origin.new()
    origin.send(after=3, resumed=True)
    origin.dispatcher.reconcile([ID])
    assert origin.connect().live == (ID,)
    [submit] = origin.submitted()
    assert submit.dispatch.resumed
    assert (submit.after, submit.printed) == (3, 17)


def test_no_session_begins_before_it_is_known_what_was_handed_out(origin: Origin) -> None:
    ready = []
    origin.dispatcher.when_ready(lambda: ready.append("once it is"))
    origin.send(resumed=True)
    assert not ready
    origin.dispatcher.reconcile([ID])
    origin.dispatcher.when_ready(lambda: ready.append("at once"))
    assert ready == ["once it is", "at once"]


@pytest.mark.parametrize("again", [False, True])
def test_its_log_is_copied_each_piece_once(origin: Origin, again: bool) -> None:
    origin.connect()
    origin.send()
    pieces: list[tuple[Stream, int, bytes]] = [
        ("stdout", 10, b"one "),
        ("stderr", 20, b"other"),
        ("stdout", 30, b"two"),
    ]
    for stream, position, data in pieces * (1 + again):
        origin.dispatcher.heard(Printed(id=ID, stream=stream, position=position, data=data))
    assert origin.logs.read(ID, "stdout") == b"one two"
    assert origin.logs.read(ID, "stderr") == b"other"


def test_what_is_missing_is_said_in_its_place(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=10, data=b"head"))
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=90, data=b"tail", missing=12_345))
    assert origin.logs.read(ID, "stdout") == b"head\n[12,345 bytes are not kept]\ntail"


def test_a_log_that_cannot_be_written_ends_the_session_and_the_next_goes_on_there(origin: Origin) -> None:
    class Full:
        position = 7

        def append(self, stream: Stream, data: bytes, position: int) -> None:
            raise OSError(errno.ENOSPC, "no space")

        def afresh(self) -> None:
            pass

        settle = close = afresh

    class Logs:
        def copy(self, id: AttemptId) -> Copy:
            return Full()

    dispatcher = origin.dispatcher = RemoteDispatcher(
        "onprem", node="n1", own_name="cloud", clock=origin.clock, logs=Logs(), lost_after=LOST_AFTER
    )
    origin.connect()
    origin.send()
    with pytest.raises(OSError, match="no space"):
        dispatcher.heard(Printed(id=ID, stream="stdout", position=9, data=b"x"))
    dispatcher.disconnected("full")
    origin.connect()
    assert origin.submitted()[0].printed == 7


def test_what_was_masked_again_is_copied_afresh(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=46, data=b"secret"))
    origin.dispatcher.heard(Afresh(id=ID))
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=46, data=b"***"))
    origin.hear(Noticed(id=ID, sequence=4, kind=Kind.LOG_REDACTED))
    assert origin.logs.read(ID, "stdout") == b"***"


def test_a_session_that_ends_in_between_leaves_what_was_there(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=46, data=b"secret"))
    origin.dispatcher.heard(Afresh(id=ID))
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=46, data=b"*"))
    origin.dispatcher.disconnected("cut")
    origin.connect()
    origin.dispatcher.heard(Afresh(id=ID))
    origin.dispatcher.heard(Printed(id=ID, stream="stdout", position=46, data=b"***"))
    origin.hear(Noticed(id=ID, sequence=4, kind=Kind.LOG_REDACTED))
    assert origin.logs.read(ID, "stdout") == b"***"


# Cancels and signals.


def test_a_cancel_is_passed_on_and_hurried(origin: Origin) -> None:
    origin.connect()
    origin.send()
    for grace in (5.0, 7.0, 1.0):
        origin.dispatcher.cancel(ID, grace)
    assert origin.told[1:] == [Cancel(id=ID, grace=5.0), Cancel(id=ID, grace=1.0)]


def test_a_cancel_over_a_dead_link_is_delivered_when_it_is_back(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.disconnected("cut")
    origin.dispatcher.cancel(ID, 5.0)
    origin.pass_seconds(60)
    assert origin.reports == []
    origin.connect()
    assert [submit.cancel_grace for submit in origin.submitted()] == [5.0]


def test_what_nobody_has_ever_heard_of_is_ended_here(origin: Origin) -> None:
    origin.send()
    origin.dispatcher.cancel(ID, 5.0)
    assert origin.reports == [], "nothing is reported from within a verb"
    origin.pass_seconds(0)
    assert [report.outcome.status for report in origin.finished()] == [Status.ABORTED]
    origin.connect()
    assert origin.submitted() == []


def test_a_cancel_of_what_a_former_life_has_sent_waits_for_the_peer(origin: Origin) -> None:
    origin.send(resumed=True)
    origin.dispatcher.cancel(ID, 5.0)
    origin.pass_seconds(60)
    assert origin.reports == []
    origin.connect()
    assert [submit.cancel_grace for submit in origin.submitted()] == [5.0]


@pytest.mark.parametrize("connected", [True, False])
def test_a_cancel_that_comes_before_what_a_former_life_has_sent_wins(origin: Origin, connected: bool) -> None:
    if connected:
        origin.connect()
    for grace in (5.0, 7.0, 1.0):
        origin.dispatcher.cancel(ID, grace)
    origin.send(resumed=True)
    if not connected:
        origin.connect()
    assert [submit.cancel_grace for submit in origin.submitted()] == [1.0]


def test_a_cancel_that_comes_before_what_nobody_has_heard_of_ends_it_here(origin: Origin) -> None:
    origin.connect()
    origin.dispatcher.cancel(ID, 5.0)
    origin.send()
    origin.pass_seconds(0)
    assert [report.outcome.status for report in origin.finished()] == [Status.ABORTED]
    assert origin.submitted() == []


def test_a_cancel_of_what_is_never_handed_over_is_forgotten_with_its_group(origin: Origin) -> None:
    origin.connect()
    origin.dispatcher.cancel(ID, 5.0)
    origin.dispatcher.release(ID.group)
    origin.dispatcher.cancel(ID._replace(task="u"), 5.0)
    origin.dispatcher.reconcile([])
    for task in ("t", "u"):
        origin.send(ID._replace(task=task), resumed=True)
    assert [submit.cancel_grace for submit in origin.submitted()] == [None, None]


def test_a_signal_is_passed_on_now_or_when_the_peer_is_back(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.signal(ID, "pause")
    assert origin.told[-1] == Signal(id=ID, signal="pause")
    origin.dispatcher.disconnected("cut")
    for signal in ("start", "destroy"):
        origin.dispatcher.signal(ID, signal)
    origin.connect()
    submit, signal_told = origin.told
    assert isinstance(submit, Submit)
    assert not submit.dispatch.paused
    assert signal_told == Signal(id=ID, signal="destroy")


# Refusals and losses.


def test_what_the_peer_refuses_is_over(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Refused(id=ID, reason=Reason.REFUSED, message="no rule lets cloud do this"))
    [end] = origin.finished()
    assert (end.outcome.status, end.outcome.reason) == (Status.ERRORED, "refused")
    assert end.outcome.error == "onprem does not take it: no rule lets cloud do this"


def test_a_peer_that_is_away_too_long_is_given_up(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.hear(started())
    origin.dispatcher.disconnected("onprem:8443 does not answer")
    origin.pass_seconds(LOST_AFTER - 1)
    assert origin.finished() == []
    origin.pass_seconds(2)
    [end] = origin.finished()
    assert (end.outcome.status, end.outcome.reason, end.sequence) == (Status.ERRORED, "runner_lost", 4)
    assert "has been away for 300 s (onprem:8443 does not answer)" in (end.outcome.error or "")
    assert origin.connect().live == (), "it ends there what is not wanted any more"
    assert origin.submitted() == []


def test_a_peer_that_comes_back_in_time_has_all_of_it_again(origin: Origin) -> None:
    origin.connect()
    origin.send()
    for _ in range(3):
        origin.dispatcher.disconnected("cut")
        origin.pass_seconds(LOST_AFTER - 1)
        origin.connect()
    origin.pass_seconds(10 * LOST_AFTER)
    assert origin.finished() == []


def test_what_a_former_life_has_sent_is_given_up_too(origin: Origin) -> None:
    origin.send(after=3, resumed=True)
    origin.dispatcher.reconcile([ID])
    origin.pass_seconds(LOST_AFTER + 1)
    assert [(end.outcome.reason, end.sequence) for end in origin.finished()] == [("runner_lost", 4)]


def test_a_late_end_is_passed_on_and_acknowledged(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.disconnected("cut")
    origin.pass_seconds(LOST_AFTER + 1)
    origin.dispatcher.acknowledge(ID, 1)
    origin.connect()
    origin.hear(finished(12))
    assert [end.sequence for end in origin.finished()] == [1, 12]
    assert origin.told == [Acknowledge(id=ID, sequence=12)]


# Groups, and what is known of the peer.


@pytest.mark.parametrize("away", [False, True])
def test_a_group_that_is_over_is_released_once(origin: Origin, away: bool) -> None:
    origin.connect()
    origin.send()
    origin.hear(finished())
    origin.dispatcher.acknowledge(ID, 9)
    if away:
        origin.dispatcher.disconnected("cut")
    origin.dispatcher.release("g")
    origin.dispatcher.release("another")
    if away:
        origin.connect()
    assert [message for message in origin.told if isinstance(message, Release)] == [Release(group="g")]
    origin.connect()
    assert origin.told == []


def test_what_is_known_of_the_peer(origin: Origin) -> None:
    dispatcher = origin.dispatcher
    assert (dispatcher.name, dispatcher.instance, dispatcher.is_there) == ("onprem", "", False)
    origin.connect()
    assert (dispatcher.instance, dispatcher.is_there, dispatcher.load) == ("i2", True, LOAD)
    dispatcher.heard(Loaded(load=Load(slots=4, taken=3, waiting=2)))
    assert dispatcher.load == Load(slots=4, taken=3, waiting=2)
    origin.send()
    since = origin.clock.now().wall
    told = PeerState(name="onprem", own_name="their-name", there=True, since=since, running=1, types=("probe",))
    assert dispatcher.state == told
    origin.hear(finished())
    origin.pass_seconds(5)
    dispatcher.disconnected("cut")
    assert dispatcher.state == replace(told, there=False, since=since + 5, running=0, trouble="cut")


def test_trouble_is_told_and_that_it_is_away_once(origin: Origin) -> None:
    origin.connect()
    for why in ("cut", "refused"):
        origin.dispatcher.disconnected(why)
    assert origin.dispatcher.trouble == "refused"
    assert origin.changes == [("onprem", True), ("onprem", False)]
