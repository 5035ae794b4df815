from __future__ import annotations

import pytest

from runner.engine import retry
from runner.model.dispatch import AttemptId
from runner.model.result import Outcome, Status
from runner.model.task import Retry


def _outcome(status: Status, reason: str | None = None, exit_code: int | None = None) -> Outcome:
    return Outcome(status=status, reason=reason, exit_code=exit_code)


@pytest.mark.parametrize(
    ("on", "outcome", "wanted"),
    [
        ({"failed", "errored"}, _outcome(Status.FAILED, exit_code=1), True),
        ({"failed", "errored"}, _outcome(Status.ERRORED, "driver_error"), True),
        ({"failed", "errored"}, _outcome(Status.FAILED, "timeout", 124), True),
        ({"failed", "errored"}, _outcome(Status.ERRORED, "host_restarted"), False),
        ({"failed", "errored"}, _outcome(Status.ERRORED, "supervisor_lost"), False),
        ({"host_restarted"}, _outcome(Status.ERRORED, "host_restarted"), True),
        ({"failed", "errored"}, _outcome(Status.ABORTED), False),
        ({"failed", "errored"}, _outcome(Status.SUCCESS, exit_code=0), False),
        ({"75"}, _outcome(Status.FAILED, exit_code=75), True),
        ({"75"}, _outcome(Status.FAILED, exit_code=1), False),
        ({"timeout"}, _outcome(Status.FAILED, "timeout", 124), True),
        ({"timeout"}, _outcome(Status.FAILED, exit_code=1), False),
        ({"errored"}, _outcome(Status.FAILED, exit_code=1), False),
    ],
)
def test_an_outcome_is_retried_only_when_listed(on: set[str], outcome: Outcome, wanted: bool) -> None:
    assert retry.wanted(Retry(attempts=2, on=frozenset(on)), 1, outcome) is wanted


def test_attempts_is_the_total() -> None:
    policy = Retry(attempts=3)
    failed = _outcome(Status.FAILED, exit_code=1)
    assert [retry.wanted(policy, attempt, failed) for attempt in (1, 2, 3)] == [True, True, False]


def test_the_delay_grows_is_capped_and_stays_within_its_jitter() -> None:
    policy = Retry(attempts=9, delay=2.0, backoff=2.0, max_delay=10.0)
    for attempt, plain in [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (5, 10.0)]:
        seconds = retry.delay(policy, AttemptId("g", "t", attempt))
        assert plain * 0.75 <= seconds <= plain * 1.25


def test_the_delay_is_the_same_after_a_restart_and_differs_between_tasks() -> None:
    policy = Retry(attempts=3, delay=100.0)
    one = retry.delay(policy, AttemptId("g", "a", 1))
    assert one == retry.delay(policy, AttemptId("g", "a", 1))
    assert one != retry.delay(policy, AttemptId("g", "b", 1))


def test_a_backoff_that_overflows_is_capped() -> None:
    policy = Retry(attempts=10_000, delay=1.0, backoff=10.0, max_delay=60.0)
    assert retry.delay(policy, AttemptId("g", "a", 9_999)) <= 75.0
