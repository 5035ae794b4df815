"""The scripted executor: what its scripts say, and what it keeps for an engine that is not there."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Task
from runner.model.value import Bindings
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Notice, OnStop, Script

ID = AttemptId("g", "t", 1)
FAILED = Outcome(status=Status.FAILED, exit_code=3)


def dispatch(instance: str = "executor-1", timeout: float | None = None, handle: bytes | None = None) -> Dispatch:
    bindings = Bindings(group_id="g", group_name="", task_name="t", task_attempt=1)
    task = Task(name="t", type="scripted", timeout=timeout)
    return Dispatch(id=ID, instance=instance, task=task, bindings=bindings, workspace="", handle=handle)


class Stage:
    """An executor, its clock that begins at 0, and everything that it reports, with the time."""

    def __init__(self, script: Script, *, duplicates: bool = False, reports_die: bool = False) -> None:
        self.clock = VirtualClock(boot=0.0)
        self.executor = ScriptedExecutor(self.clock, lambda id: script, duplicates=duplicates, reports_die=reports_die)
        self.reports: list[Report] = []
        self.times: list[float] = []

    def hear(self, report: Report) -> None:
        self.reports.append(report)
        self.times.append(self.clock.now().boot)

    def send(self, dispatch: Dispatch | None = None, after: int = 0) -> None:
        self.executor.submit(dispatch or _dispatch())
        self.executor.events(ID, after, self.hear)

    @property
    def ends(self) -> list[tuple[float, str, int | None]]:
        """When an end was heard, and which."""
        return [
            (round(at, 6), report.outcome.status.value, report.outcome.exit_code)
            for at, report in zip(self.times, self.reports, strict=True)
            if isinstance(report, Finished)
        ]


_dispatch = dispatch


def test_an_attempt_starts_tells_and_ends() -> None:
    stage = Stage(Script(start_after=1.0, duration=5.0, outcome=FAILED, notices=(Notice(after=2.0), Notice(after=9.0))))
    stage.send()
    stage.clock.run_until_idle()
    assert [type(report) for report in stage.reports] == [Started, Noticed, Finished]
    assert [report.sequence for report in stage.reports] == [1, 2, 3]
    assert stage.times == [1.0, 3.0, 6.0]
    end = stage.reports[-1]
    assert isinstance(end, Finished)
    assert end.outcome.finished_at == stage.clock.now().wall
    assert end.outcome.started_at == stage.clock.now().wall - 5.0
    assert stage.executor.starts == {("executor-1", ID): 1}


def test_one_that_cannot_start_only_ends() -> None:
    stage = Stage(Script(start_after=1.0, starts=False, outcome=FAILED))
    stage.send()
    stage.clock.run_until_idle()
    assert (stage.ends, len(stage.reports), len(stage.executor.starts)) == ([(1.0, "failed", 3)], 1, 0)


def test_an_attempt_ends_at_its_timeout() -> None:
    stage = Stage(Script(start_after=1.0, duration=5.0))
    stage.send(dispatch(timeout=2.0))
    stage.clock.run_until_idle()
    assert stage.ends == [(3.0, "failed", 124)]


@pytest.mark.parametrize(
    ("script", "cancels", "expected"),
    [
        (Script(duration=50.0, stop_after=2.0), [(5.0, 10.0)], (7.0, "aborted", None)),
        (Script(duration=50.0, stop_after=20.0, kill_after=0.5), [(5.0, 10.0)], (15.5, "aborted", None)),
        (Script(duration=50.0, stop_after=20.0, kill_after=0.5), [(5.0, 10.0), (6.0, 0.0)], (6.5, "aborted", None)),
        (Script(duration=50.0, stop_after=20.0, kill_after=0.5), [(5.0, 1.0), (5.5, 10.0)], (6.5, "aborted", None)),
        (Script(duration=6.0, outcome=FAILED, stop_after=20.0), [(5.0, 10.0)], (6.01, "failed", 3)),
        (
            Script(duration=50.0, outcome=FAILED, on_stop=OnStop.FINISHES, stop_after=2.0),
            [(5.0, 10.0)],
            (7.0, "failed", 3),
        ),
        (Script(duration=50.0, on_stop=OnStop.FINISHES, stop_after=99.0), [(5.0, 10.0)], (15.01, "aborted", None)),
        (
            Script(duration=6.0, on_stop=OnStop.SILENT, stop_after=40.0),
            [(5.0, 10.0), (6.0, 0.0)],
            (45.0, "aborted", None),
        ),
        (Script(start_after=9.0, stop_after=2.0), [(5.0, 10.0)], (7.0, "aborted", None)),
        (Script(start_after=9.0, starts=False, outcome=FAILED, stop_after=2.0), [(5.0, 10.0)], (7.0, "aborted", None)),
    ],
)
def test_how_a_stop_is_taken(
    script: Script, cancels: list[tuple[float, float]], expected: tuple[float, str, int]
) -> None:
    stage = Stage(script)
    stage.send()
    for at, grace in cancels:
        stage.clock.run_until(at)
        stage.executor.cancel(ID, grace)
    stage.clock.run_until_idle()
    assert stage.ends == [expected]


def test_one_may_stay_silent_forever() -> None:
    stage = Stage(Script(on_stop=OnStop.SILENT, duration=5.0, stop_after=math.inf))
    stage.send()
    stage.clock.run_until(1.0)
    stage.executor.cancel(ID, 10.0)
    stage.clock.run_until_idle()
    assert stage.ends == []
    assert stage.executor.in_flight == {ID}


def test_a_cancel_that_comes_first_wins() -> None:
    stage = Stage(Script())
    stage.executor.cancel(ID, 10.0)
    stage.send()
    stage.clock.run_until_idle()
    assert [end[1] for end in stage.ends] == ["aborted"]
    assert not stage.executor.starts


def test_sending_again_attaches() -> None:
    stage = Stage(Script(duration=5.0))
    stage.send()
    stage.clock.run_until(2.0)
    stage.send(after=1)
    stage.clock.run_until_idle()
    assert [report.sequence for report in stage.reports] == [1, 2]
    assert stage.executor.starts == {("executor-1", ID): 1}
    assert stage.executor.complaints == []


def test_other_content_under_the_same_name_is_noted() -> None:
    stage = Stage(Script())
    stage.send()
    stage.executor.submit(replace(dispatch(), workspace="/elsewhere"))
    assert stage.executor.complaints == ["g/t/1 was submitted again with different content"]


def test_reports_are_kept_until_they_are_acknowledged() -> None:
    stage = Stage(Script(duration=5.0))
    stage.send()
    stage.clock.run_until(1.0)
    stage.executor.disconnect()
    stage.clock.run_until_idle()
    assert len(stage.reports) == 1
    stage.executor.events(ID, 0, stage.hear)
    assert len(stage.reports) == 1
    stage.clock.run_until_idle()
    assert [report.sequence for report in stage.reports] == [1, 1, 2]
    stage.executor.acknowledge(ID, 1)
    assert stage.executor.unacknowledged == {ID}
    stage.executor.acknowledge(ID, 2)
    assert stage.executor.unacknowledged == frozenset()
    assert stage.executor.settled[ID].status is Status.SUCCESS


def test_reports_can_be_doubled() -> None:
    stage = Stage(Script(duration=5.0, notices=(Notice(after=1.0),)), duplicates=True)
    stage.send()
    stage.clock.run_until_idle()
    assert [report.sequence for report in stage.reports] == [1, 1, 2, 1, 2, 3]


@pytest.mark.parametrize(("handle", "expected"), [(None, [Started, Finished]), (b"g/t/1", [Finished])])
def test_reports_can_die_with_the_engine(handle: bytes | None, expected: list[type]) -> None:
    """What is new goes on behind the number that the next engine has seen."""
    stage = Stage(Script(duration=5.0, notices=(Notice(after=1.0),)), reports_die=True)
    stage.send()
    stage.clock.run_until(3.0)
    stage.executor.disconnect()
    stage.reports.clear()
    stage.send(dispatch(handle=handle), after=7)
    stage.clock.run_until_idle()
    assert [type(report) for report in stage.reports] == expected
    assert [report.sequence for report in stage.reports] == list(range(8, 8 + len(expected)))
    assert stage.executor.starts == {("executor-1", ID): 1}


@pytest.mark.parametrize("subscribed_first", [False, True])
def test_an_attempt_of_a_former_life_is_lost(subscribed_first: bool) -> None:
    stage = Stage(Script(duration=5.0))
    stage.send()
    stage.clock.run_until(2.0)
    stage.executor.restart("executor-2", Reason.HOST_RESTARTED)
    stage.reports.clear()
    if subscribed_first:
        stage.executor.events(ID, 4, stage.hear)
        stage.executor.submit(dispatch())
    else:
        stage.send(after=4)
    stage.clock.run_until_idle()
    (end,) = stage.reports
    assert isinstance(end, Finished)
    assert (end.sequence, end.outcome.status, end.outcome.reason) == (5, Status.ERRORED, "host_restarted")
    assert stage.executor.starts == {("executor-1", ID): 1}


def test_reconcile_ends_what_nobody_wants() -> None:
    stage = Stage(Script(duration=5.0))
    stage.send()
    stage.clock.run_until(1.0)
    stage.executor.reconcile([ID])
    assert stage.executor.in_flight == {ID}
    stage.executor.reconcile([])
    stage.clock.run_until_idle()
    assert (stage.ends, stage.executor.in_flight) == ([], frozenset())


def test_release_forgets_what_has_ended() -> None:
    stage = Stage(Script(duration=5.0))
    stage.send()
    stage.executor.release("g")
    stage.clock.run_until_idle()
    assert len(stage.ends) == 1
    stage.executor.release("other")
    assert stage.executor.unacknowledged == {ID}
    stage.executor.release("g")
    assert stage.executor.unacknowledged == frozenset()


def test_a_pause_stops_its_clock() -> None:
    stage = Stage(Script(start_after=1.0, duration=5.0, notices=(Notice(after=4.0),)))
    stage.send(dispatch(timeout=6.0))
    for at, signal in (
        (2.0, "pause"),
        (2.5, "pause"),
        (9.0, "start"),
        (9.1, "start"),
        (9.2, "unknown"),
    ):
        stage.clock.run_until(at)
        stage.executor.signal(ID, signal)
    stage.clock.run_until_idle()
    kinds = [report.kind for report in stage.reports if isinstance(report, Noticed)]
    assert kinds == [Kind.TASK_PAUSED, Kind.TASK_RESUMED, Kind.MASK_SKIPPED]
    assert stage.ends == [(13.0, "success", 0)]


def test_what_it_is_told_before_its_start_is_obeyed_behind_it() -> None:
    stage = Stage(Script(start_after=1.0, duration=5.0))
    stage.send(dispatch())
    for signal in ("start", "pause"):
        stage.executor.signal(ID, signal)
    stage.clock.run_until(9.0)
    stage.executor.signal(ID, "start")
    stage.clock.run_until_idle()
    kinds = [report.kind for report in stage.reports if isinstance(report, Noticed)]
    assert kinds == [Kind.TASK_PAUSED, Kind.TASK_RESUMED]
    assert stage.ends == [(14.0, "success", 0)]


def test_one_can_be_destroyed() -> None:
    stage = Stage(Script(duration=50.0, kill_after=0.25))
    stage.send()
    stage.clock.run_until(2.0)
    stage.executor.signal(ID, "destroy")
    stage.clock.run_until_idle()
    assert stage.ends == [(2.25, "failed", 137)]
