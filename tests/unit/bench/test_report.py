"""What the benchmark makes of its samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import goals, report
from bench.goals import FLOOR, MAKE, NODE, Figure, Goal
from bench.samples import BenchError, Sample, to_line


def sample(number: int, contestant: str, rate: float, workload: str = "indep") -> Sample:
    return Sample(round=number, contestant=contestant, workload=workload, metrics={"tasks_per_s": rate})


OURS = Figure(NODE, "indep", "tasks_per_s")
FLOORS = Figure(FLOOR, "indep", "tasks_per_s")


def test_only_figures_of_one_round_are_compared_and_the_median_counts() -> None:
    samples = [
        *(sample(number, NODE, rate) for number, rate in enumerate([100, 60, 50, 999])),
        *(sample(number, FLOOR, rate) for number, rate in enumerate([200, 100, 500])),
        sample(0, MAKE, 1),
    ]
    (found,) = goals.reached(samples, [Goal(number="1", what="rate", ours=OURS, theirs=FLOORS, goal=0.5)])
    assert (found.value, found.low, found.high, found.rounds) == (0.5, 0.1, 0.6, 3)
    assert found.verdict == "reached"


@pytest.mark.parametrize(
    ("at_least", "value", "verdict"),
    [
        (True, 0.9, "stretch"),
        (True, 0.5, "reached"),
        (True, 0.49, "missed"),
        (False, 0.4, "stretch"),
        (False, 0.6, "reached"),
        (False, 0.95, "missed"),
    ],
)
def test_a_verdict(at_least: bool, value: float, verdict: str) -> None:
    wanted, stretch = (0.5, 0.8) if at_least else (0.8, 0.5)
    goal = Goal(number="1", what="rate", ours=OURS, theirs=FLOORS, goal=wanted, stretch=stretch, at_least=at_least)
    (found,) = goals.reached([sample(0, NODE, value * 100), sample(0, FLOOR, 100)], [goal])
    assert found.verdict == verdict


def test_what_was_not_measured_is_not_told() -> None:
    assert goals.reached([sample(0, NODE, 1)]) == []
    assert report.render([]) == ""


def test_the_tables_name_every_goal_that_was_measured() -> None:
    figures = [figure for goal in goals.GOALS for figure in (goal.ours, goal.theirs) if figure is not None]
    metrics = {**dict.fromkeys((figure.metric for figure in figures), 0.9), "tasks_per_s": 1500.0}
    measured = {(figure.contestant, figure.workload) for figure in figures}
    samples = [Sample(round=0, contestant=c, workload=w, metrics=metrics) for c, w in sorted(measured)]
    tables = report.render(samples)
    for goal in goals.GOALS:
        assert f"| {goal.number} | {goal.what} |" in tables
    assert f"| {NODE} | 1,500 |" in tables
    assert "| runner: the rest" not in tables  # the engine alone was not measured on `indep`
    widths = {line.count("|") for line in tables.split("\n\n", 1)[0].splitlines()}
    assert len(widths) == 1


def test_a_difference_is_no_ratio() -> None:
    above = next(goal for goal in goals.GOALS if goal.number == "8")
    samples = [
        Sample(round=0, contestant=contestant, workload="indep", metrics={"cpu_ms_per_task": milliseconds})
        for contestant, milliseconds in ((above.ours.contestant, 0.9), (FLOOR, 0.5))
    ]
    (found,) = goals.reached(samples, [above])
    assert found.value == pytest.approx(0.4)


def test_a_line_holds_the_whole_sample() -> None:
    line = to_line(sample(3, NODE, 12.5))
    assert json.loads(line) == {
        "round": 3,
        "contestant": NODE,
        "workload": "indep",
        "metrics": {"tasks_per_s": 12.5},
    }


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "results.md"
    file.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(file, "new")
    report.write(file, "newer")
    assert file.read_text() == f"before\n{report.BEGIN}\n\nnewer\n\n{report.END}\nafter\n"


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "results.md"
    file.write_text("mine\n")
    with pytest.raises(BenchError, match="has no lines"):
        report.write(file, "new")
    assert file.read_text() == "mine\n"
