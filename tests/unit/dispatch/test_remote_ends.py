"""How attempts end that an origin has handed to a peer: cancelled, refused, lost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from runner.model.dispatch import Finished
from runner.model.result import Outcome, Reason, Status
from runner.model.session import (
    Acknowledge,
    Cancel,
    Refused,
    Release,
    Signal,
    Submit,
)
from runner.model.value import Value
from tests.unit.dispatch.origin import HELLO, ID, LOST_AFTER, Origin, finished, started

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


def test_what_is_handed_to_one_that_is_no_peer_any_more_is_lost_at_once(origin: Origin) -> None:
    origin.connect()
    origin.dispatcher.retire("gone")
    origin.send()
    assert origin.reports == [], "nothing is reported from within a verb"
    origin.pass_seconds(0)
    [end] = origin.finished()
    assert end.outcome.reason == Reason.RUNNER_LOST
    assert end.outcome.error == "onprem is no peer of this runner any more; the attempt may still run there"


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
    assert end.outcome.error == "onprem has been away for 300 s; the attempt may still run there"
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


def test_how_one_that_was_given_up_has_ended_is_asked_for_until_it_is_known(origin: Origin) -> None:
    """It may have ended while nobody heard of it."""
    other = ID._replace(task="u")
    origin.connect()
    origin.send()
    origin.send(other)
    origin.dispatcher.cancel(other, 5.0)
    origin.dispatcher.disconnected("cut")
    origin.send(ID._replace(task="v"))
    origin.pass_seconds(LOST_AFTER + 1)
    origin.dispatcher.acknowledge(ID, 1)
    for _ in range(2):
        origin.connect()
        assert origin.told == [Cancel(id=ID, grace=10.0), Cancel(id=other, grace=5.0)]
    origin.hear(finished(12))
    origin.connect()
    assert origin.told == [Cancel(id=other, grace=5.0)]
    origin.dispatcher.release(ID.group)  # which the engine waits for all the same
    origin.connect()
    assert origin.told == [Cancel(id=other, grace=5.0)]
    origin.dispatcher.heard(Refused(id=other, reason=Reason.REFUSED, message="it is not known here"))
    assert (origin.finished()[-1].id, origin.finished()[-1].outcome.reason) == (other, "refused")
    origin.connect()
    assert origin.told == []


def test_how_one_has_ended_that_another_life_of_the_peer_may_know_is_asked_for(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Refused(id=ID, reason=Reason.RUNNER_LOST, message="it was given to another life"))
    origin.dispatcher.acknowledge(ID, 1)
    origin.connect()
    assert origin.told == [Cancel(id=ID, grace=10.0)]


def test_how_one_has_ended_that_its_group_did_not_wait_for_is_asked_for(origin: Origin) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.disconnected("cut")
    origin.dispatcher.cancel(ID, 5.0)
    origin.dispatcher.release(ID.group)
    origin.connect()
    assert origin.told == [Release(group=ID.group), Cancel(id=ID, grace=5.0)]
    origin.hear(finished(12))
    assert [end.sequence for end in origin.finished()] == [12]


def test_what_is_to_end_that_was_given_up_is_told_so_at_once(origin: Origin) -> None:
    """It may be that another life of the peer, which has refused it, has it."""
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Refused(id=ID, reason=Reason.RUNNER_LOST, message="it was given to another life"))
    origin.dispatcher.cancel(ID, 5.0)
    assert origin.told[-1] == Cancel(id=ID, grace=5.0)


@pytest.mark.parametrize("reason", ["x" * 2000, "with blanks", "runner_lost", "oom", None])
def test_of_a_late_end_no_more_is_kept_than_it_is_told_for(origin: Origin, reason: str | None) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.disconnected("cut")
    origin.pass_seconds(LOST_AFTER + 1)
    origin.connect()
    outcome = Outcome(
        status=Status.FAILED, reason=reason, error="e" * 1000, outputs={"key": Value("v")}, kill={"survivors": 0}
    )
    origin.hear(Finished(id=ID, sequence=9, outcome=outcome))
    kept = {"oom": "oom", "runner_lost": None, None: None}.get(reason, "driver_error")
    assert origin.finished()[-1].outcome == Outcome(status=Status.FAILED, reason=kept)


def test_what_a_peer_keeps_of_groups_that_are_over_is_released(origin: Origin) -> None:
    """A former life was killed before it could tell."""
    origin.connect()
    origin.send()
    origin.dispatcher.disconnected("cut")
    origin.dispatcher.is_over = lambda group: group != "still"
    origin.connect(replace(HELLO, kept=("old", ID.group, "still")))
    assert [said for said in origin.told if isinstance(said, Release)] == [Release(group="old")]


@pytest.mark.parametrize("reason", ["x" * 2000, "no reason of ours"])
def test_who_does_not_take_it_gives_no_reason_of_his_own(origin: Origin, reason: str) -> None:
    origin.connect()
    origin.send()
    origin.dispatcher.heard(Refused(id=ID, reason=reason, message="no"))
    assert [end.outcome.reason for end in origin.finished()] == ["refused"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("runner_lost", "supervisor_lost"),
        ("x" * 2000, "driver_error"),
        ("a b", "driver_error"),
        ("oom.killed", "oom.killed"),
    ],
)
def test_a_peer_that_is_there_gives_no_reason_that_is_for_this_runner_to_say(
    origin: Origin, said: str, kept: str
) -> None:
    """Nobody would ever hear how an attempt has ended that is said to be lost by the runner that has it."""
    origin.connect()
    origin.send()
    origin.hear(Finished(id=ID, sequence=9, outcome=Outcome(status=Status.ERRORED, reason=said)))
    assert [end.outcome.reason for end in origin.finished()] == [kept]


@pytest.mark.parametrize("safe", [True, False])
def test_a_late_end_is_passed_on_and_acknowledged(origin: Origin, safe: bool) -> None:
    """Also where that it was given up is not safe on disk yet."""
    origin.connect()
    origin.send()
    origin.dispatcher.disconnected("cut")
    origin.pass_seconds(LOST_AFTER + 1)
    if safe:
        origin.dispatcher.acknowledge(ID, 1)
    origin.connect()
    origin.hear(finished(12))
    assert [end.sequence for end in origin.finished()] == [1, 12]
    assert origin.told == [Cancel(id=ID, grace=10.0), Acknowledge(id=ID, sequence=12)]
