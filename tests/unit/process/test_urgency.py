"""Going before all others: only in a hunt that lasts, and back again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from runner.process.supervisor import urgency
from runner.process.supervisor.urgency import Urgency
from tests import apart


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(urgency, "PATIENCE_SECONDS", 0.0)
    yield
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_hunt_that_lasts_goes_first_and_what_it_starts_does_not(
    impatient: None, require: Callable[[str], None]
) -> None:
    require("root")
    hunt = Urgency(0, os.getpid())
    hunt.found()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    hunt.found()
    hunt.found()
    try:
        assert os.sched_getscheduler(0) == os.SCHED_RR | os.SCHED_RESET_ON_FORK
        policy = subprocess.run(["chrt", "-p", "0"], capture_output=True, text=True, check=True).stdout
        assert "SCHED_OTHER" in policy
    finally:
        hunt.end()
        hunt.end()


def test_an_ordinary_hunt_is_as_everything_else() -> None:
    hunt = Urgency(0)
    hunt.found()
    hunt.found()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    hunt.end()


def test_two_hunts_of_one_thread_are_over_when_both_are(require: Callable[[str], None]) -> None:
    require("root")
    first, second = Urgency(0), Urgency(os.getpid(), 0)
    first.begin()
    second.begin()
    try:
        first.end()
        assert os.sched_getscheduler(0) & os.SCHED_RR, "the second still lasts"
    finally:
        second.end()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_who_may_not_go_first_hunts_all_the_same(impatient: None, require: Callable[[str], None]) -> None:
    require("seccomp")

    def work() -> None:
        hunt = Urgency(0, os.getpid())
        hunt.found()
        hunt.found()
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
        hunt.end()

    apart.run(work, apart.without("sched_setscheduler"))


def test_who_may_go_first_without_being_root_goes_back_as_well(impatient: None, require: Callable[[str], None]) -> None:
    """Its right to that is lost in between, for to raise RLIMIT_RTPRIO takes more than most have."""
    require("root")

    def work() -> None:
        hunt = Urgency(0, os.getpid())
        hunt.found()
        hunt.found()
        assert os.sched_getscheduler(0) & os.SCHED_RR
        os.setuid(65534)
        hunt.end()
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER

    apart.run(work)
