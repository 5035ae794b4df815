from __future__ import annotations

from runner.dispatch.reports import Reports
from runner.model.dispatch import AttemptId, Noticed, Report
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.simulator.clock import VirtualClock

ID = AttemptId("g", "t", 1)
DONE = Outcome(status=Status.SUCCESS)


class Listener:
    def __init__(self, *, continued: bool = False) -> None:
        self.clock = VirtualClock()
        self.settled = 0
        self.heard: list[int] = []
        self.reports = Reports(ID, self.clock, continued=continued, on_settled=self._settle)

    def _settle(self) -> None:
        self.settled += 1

    def hear(self, report: Report) -> None:
        self.heard.append(report.sequence)


def test_what_waited_for_a_listener_comes_from_the_clock_and_in_order() -> None:
    one = Listener()
    one.reports.started(1.0, b"h")
    one.reports.subscribe(0, one.hear)
    one.reports.happened(Kind.TASK_PAUSED)
    assert one.heard == []
    one.clock.run_until_idle()
    assert one.heard == [1, 2]
    one.reports.end(DONE)
    assert one.heard == [1, 2, 3]


def test_a_new_listener_hears_again_what_is_not_acknowledged() -> None:
    one = Listener()
    for _ in range(3):
        one.reports.happened(Kind.TASK_PAUSED)
    one.reports.subscribe(0, one.hear)
    one.clock.run_until_idle()
    one.reports.acknowledge(1)
    again: list[int] = []
    one.reports.subscribe(0, lambda report: again.append(report.sequence))
    one.clock.run_until_idle()
    assert again == [2, 3]
    later: list[int] = []
    one.reports.subscribe(2, lambda report: later.append(report.sequence))
    one.reports.end(DONE)
    one.clock.run_until_idle()
    assert later == [3, 4]
    assert one.heard == [1, 2, 3]


def test_a_listener_that_is_replaced_from_within_hears_no_more() -> None:
    one = Listener()
    one.reports.happened(Kind.TASK_PAUSED)
    one.reports.happened(Kind.TASK_RESUMED)
    first: list[int] = []

    def replace(report: Report) -> None:
        first.append(report.sequence)
        one.reports.subscribe(report.sequence, one.hear)

    one.reports.subscribe(0, replace)
    one.clock.run_until_idle()
    assert (first, one.heard) == ([1], [2])


def test_it_is_settled_once_and_only_when_the_end_is_acknowledged() -> None:
    one = Listener()
    one.reports.happened(Kind.TASK_PAUSED)
    one.reports.acknowledge(1)
    assert one.settled == 0
    one.reports.end(DONE)
    one.reports.noticed(Kind.MASK_SKIPPED)
    one.reports.happened(Kind.TASK_RESUMED)
    one.reports.acknowledge(1)
    assert one.settled == 0
    one.reports.acknowledge(2)
    one.reports.acknowledge(2)
    assert one.settled == 1


def test_what_is_noticed_is_told_with_the_start_and_with_the_end() -> None:
    one = Listener()
    kinds: list[str] = []

    def hear(report: Report) -> None:
        kinds.append(report.kind if isinstance(report, Noticed) else type(report).__name__)

    one.reports.subscribe(0, hear)
    one.reports.noticed(Kind.MASK_SKIPPED)
    assert kinds == []
    one.reports.started(1.0, b"h")
    assert kinds == ["mask_skipped", "Started"]
    one.reports.noticed(Kind.TASK_EXPORT)
    one.reports.happened(Kind.TASK_PAUSED)
    one.reports.noticed(Kind.KILL_REPORT)
    assert kinds[2:] == ["task_paused"]
    one.reports.end(DONE)
    assert kinds[3:] == ["task_export", "kill_report", "Finished"]


def test_what_a_former_life_has_told_with_the_start_is_not_told_again() -> None:
    one = Listener(continued=True)
    one.reports.noticed(Kind.MASK_SKIPPED)
    one.reports.started_before()
    one.reports.noticed(Kind.KILL_REPORT)
    one.reports.subscribe(2, one.hear)
    one.reports.end(DONE)
    one.clock.run_until_idle()
    assert one.heard == [3, 4]


def test_numbers_go_on_behind_those_of_a_former_life() -> None:
    one = Listener(continued=True)
    one.reports.started(1.0, b"h")
    one.reports.acknowledge(9)
    one.reports.subscribe(3, one.hear)
    one.reports.end(DONE)
    one.clock.run_until_idle()
    assert one.heard == [4, 5]
    one.reports.subscribe(4, one.hear)
    one.clock.run_until_idle()
    assert one.heard == [4, 5, 5]
    one.reports.acknowledge(5)
    assert one.settled == 1
