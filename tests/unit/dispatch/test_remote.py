"""What an origin hands to a peer, over sessions that begin and end."""

from __future__ import annotations

import errno

import pytest
from msgspec.structs import replace

from runner.dispatch.handed import Copy
from runner.dispatch.releases import SURE_SECONDS
from runner.dispatch.remote import RemoteDispatcher
from runner.model.dispatch import AttemptId, Noticed
from runner.model.event import Kind
from runner.model.load import Load
from runner.model.log import Stream
from runner.model.peer import PeerState
from runner.model.session import (
    Acknowledge,
    Afresh,
    Loaded,
    Printed,
    Release,
)
from tests.unit.dispatch.origin import ID, LOAD, LOST_AFTER, Origin, finished, started


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
    origin.dispatcher.release("another")  # of which a former life has handed something out
    if away:
        origin.connect()
    assert [message for message in origin.told if isinstance(message, Release)] == [
        Release(group="g"),
        Release(group="another"),
    ]
    origin.connect()
    assert origin.told == []


def test_a_release_that_may_not_have_arrived_is_repeated(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.hear(finished())
    origin.dispatcher.acknowledge(ID, 9)
    origin.dispatcher.release("g")
    for seconds, repeated in ((1.0, True), (SURE_SECONDS + 1.0, False)):
        origin.clock.run_until(origin.clock.now().boot + seconds)
        origin.dispatcher.disconnected("cut")
        origin.connect()
        assert (Release(group="g") in origin.told) is repeated


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
