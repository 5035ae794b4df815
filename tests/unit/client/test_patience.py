from __future__ import annotations

import pytest

from runner.client.patience import LONGEST_SECONDS, Attempts, Backoff
from runner.errors import GroupNotFoundError, InternalError, LimitError, RunnerError, UnavailableError, UnreachableError

LOST = UnreachableError()


def test_waits_grow_with_jitter_up_to_a_bound() -> None:
    assert Attempts(60, now=lambda: 0, dice=lambda: 0).wait(LOST) == 0.05
    attempts = Attempts(1000, now=lambda: 0, dice=lambda: 1)
    waits = [attempts.wait(LOST) for _ in range(100)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert set(waits[8:]) == {LONGEST_SECONDS}


def test_waits_grow_anew_when_they_are_told_to() -> None:
    backoff = Backoff(10.0, dice=lambda: 1)
    assert [backoff.next() for _ in range(9)][6:] == [6.4, 10.0, 10.0]
    backoff.begin_anew()
    assert [backoff.next(), backoff.next()] == [0.1, 0.2]


def test_the_end_is_kept_and_moves_with_success() -> None:
    at = [0.0]
    attempts = Attempts(10, now=lambda: at[0], dice=lambda: 1)
    at[0] = 9.85
    assert attempts.wait(LOST) == 0.1
    assert attempts.wait(LOST) is None, "it would be too late"
    attempts.succeeded(5)
    assert attempts.wait(LOST) == 0.1, "it begins anew"
    at[0] = 15
    assert attempts.wait(LOST) is None


def test_nobody_comes_back_before_the_node_wants_him() -> None:
    attempts = Attempts(60, now=lambda: 0, dice=lambda: 0)
    assert attempts.wait(UnavailableError(retry_after=3)) == 3.05
    assert attempts.wait(LimitError(limit=1, retry_after=7)) == 7.1
    assert attempts.wait(LimitError(limit=1, retry_after=70)) is None


@pytest.mark.parametrize("error", [LimitError(limit=1), GroupNotFoundError(), InternalError()])
def test_what_time_does_not_heal(error: RunnerError) -> None:
    assert Attempts(60).wait(error) is None
