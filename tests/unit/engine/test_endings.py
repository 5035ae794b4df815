"""How ends are told to a person."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine import endings
from runner.model.result import Abort, Outcome, Reason, Status
from runner.model.task import Retry, Task
from runner.process.channel import ENDED


def task(**changes: Any) -> Task:
    return Task(name="t", type="os_exec", **changes)


def outcome(status: Status = Status.FAILED, **changes: Any) -> Outcome:
    return Outcome(status=status, started_at=100.0, finished_at=103.25, **changes)


def test_what_failed_says_by_what_and_after_how_long() -> None:
    assert endings.told(task(), outcome(exit_code=3)) == "failed after 3.2 s: exit code 3"
    assert endings.told(task(), outcome(exit_code=143, signal=15)) == "failed after 3.2 s: ended by SIGTERM"
    assert endings.told(task(), outcome(exit_code=3), 2) == "failed after 3.2 s in 2 attempts: exit code 3"
    assert endings.told(task(), outcome(Status.SUCCESS)) == "succeeded after 3.2 s"
    assert endings.told(task(), Outcome(status=Status.ERRORED, error="no such file")) == "errored: no such file"
    late = outcome(exit_code=124, signal=9, reason=Reason.TIMEOUT)
    assert (
        endings.told(task(timeout=3.0), late) == "failed after 3.2 s: its timeout of 3.0 s was over, ended by SIGKILL"
    )
    assert endings.why(task(), outcome(Status.ABORTED)) == "somebody ended it with the signal `destroy`"
    assert endings.why(task(), outcome(Status.ERRORED, reason="quota", error="none left")) == "quota, none left"


@pytest.mark.parametrize("reason", [*Reason, *Abort])
def test_every_reason_has_words(reason: Reason | Abort) -> None:
    if reason is not Reason.STATE_NOT_WRITTEN:  # of a group
        assert endings.why(task(), outcome(reason=reason.value)) != reason.value


def test_a_runner_may_be_lost_that_was_heard_of() -> None:
    """It may be another life of it that is there now."""
    error = "b does not take it: it was given to another life of this runner"
    lost = outcome(Status.ERRORED, reason=Reason.RUNNER_LOST, error=error)
    assert endings.why(task(), lost) == f"its runner cannot be counted on any more, {error}"


def test_what_was_lost_with_a_supervisor_is_said_once_and_exactly() -> None:
    lost = outcome(Status.ERRORED, reason=Reason.SUPERVISOR_LOST, error=ENDED)
    assert endings.why(task(), lost) == "the supervisor that kept its processes ended, and they were ended with it"
    further = outcome(
        Status.ERRORED,
        reason=Reason.SUPERVISOR_LOST,
        error="c has been away for 300 s; the attempt may still run there",
    )
    assert endings.why(task(), further) == "c has been away for 300 s; the attempt may still run there"
    unsaid = outcome(Status.ERRORED, reason=Reason.SUPERVISOR_LOST)
    assert endings.why(task(), unsaid) == "the supervisor that kept its processes ended, and they were ended with it"


def test_what_a_reason_says_is_not_said_again() -> None:
    restarted = outcome(
        Status.ERRORED, reason=Reason.HOST_RESTARTED, error="the machine was restarted while the attempt ran"
    )
    assert endings.why(task(), restarted) == "the machine was started anew while it ran"


def test_why_nothing_was_tried_again() -> None:
    often = task(retry=Retry(attempts=3, on=frozenset({"failed", "7"})))
    assert endings.not_repeated(task(), 1, outcome(exit_code=1)) is None, "nobody expects it"
    assert endings.not_repeated(often, 2, outcome(exit_code=1)) is None, "it was"
    assert (
        endings.not_repeated(often, 3, outcome(exit_code=1)) == "it was not tried again: all 3 attempts have been made"
    )
    errored = outcome(Status.ERRORED, reason=Reason.START_FAILED)
    assert endings.not_repeated(often, 1, errored) == "it was not tried again: `retry.on` lists 7, failed"
    lost = outcome(Status.ERRORED, reason=Reason.SUPERVISOR_LOST)
    assert endings.not_repeated(task(retry=Retry(attempts=3)), 1, lost) == (
        "it was not tried again: it may have done its work, and `retry.on` (errored, failed) does not list supervisor_lost"
    )


def test_a_kill_report_in_words() -> None:
    signals = [["SIGTERM", 0.0], ["SIGKILL", 10.0]]
    left = [{"pid": 7, "name": "dd", "state": "D"}]
    assert endings.killing({"signals": signals, "leftovers": 2, "survivors": 0, "left": []}) == (
        "it was sent SIGTERM at once, SIGKILL after 10.0 s; 2 processes beside its first were ended; "
        "the kernel says that nothing of it is alive"
    )
    assert endings.killing({"signals": [], "leftovers": 1, "left": left}) == (
        "1 process beside its first was ended; could not be ended, and lives on: dd (7)"
    )
    assert endings.killing({"confirmed": False}) == "whether it has ended nobody could say"
