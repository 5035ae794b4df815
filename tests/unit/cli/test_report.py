from __future__ import annotations

import pytest

from runner.cli.report import MAX_SHOWN, event_line, headline, shortened, summary
from runner.model.event import Event, Kind
from runner.model.result import Status, TaskGroupResult, TaskResult
from runner.model.value import Value
from runner.model.words import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0312, "31 ms"),
        (0.2, "200 ms"),
        (1, "1.0 s"),
        (12.43, "12.4 s"),
        (59.96, "60.0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def event(kind: Kind, attempt: int = 1, **fields: object) -> Event:
    return Event(group="g", number=2, at=0.0, kind=kind, task="t", attempt=attempt, fields=fields)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event(Kind.TASK_STARTED), "started"),
        (event(Kind.TASK_STARTED, attempt=2), "started, attempt 2"),
        (event(Kind.TASK_FINISHED, status="success", exit_code=0), "success after 1.5 s"),
        (event(Kind.TASK_FINISHED, status="failed", exit_code=3), "failed after 1.5 s: exit code 3"),
        (
            event(Kind.TASK_FINISHED, status="failed", reason="timeout", exit_code=124),
            "failed after 1.5 s: timed out",
        ),
        (
            event(Kind.TASK_RETRYING, status="failed", exit_code=7, seconds=2.0),
            "failed after 1.5 s: exit code 7; tried again in 2.0 s",
        ),
        (
            event(Kind.TASK_SKIPPED, reason="dependency_failed", because_of="build"),
            "skipped because build did not succeed",
        ),
        (event(Kind.TASK_SKIPPED, reason="condition_false"), "skipped because its `if` is false"),
        (
            event(Kind.TASK_SKIPPED, reason="group_aborted", because_of="a"),
            "skipped because the group was aborted (a failed)",
        ),
        (
            event(Kind.LOG_GAP, stream="stderr", offset=9, bytes=12345678),
            "warning: 12,345,678 bytes of stderr are not kept: its log has reached its limit",
        ),
        (
            event(Kind.LOG_REDACTED, stream="stdout", marks=2, offset=9),
            "what became confidential is masked in the kept stdout now (2 ×); it may be seen above",
        ),
        (
            event(Kind.TASK_WAITING, waiting="peer_unreachable", why="eu-1: no\x1b[2J answer"),
            "waits: eu-1: no\\x1b[2J answer",
        ),
        (event(Kind.TASK_WAITING, waiting="peer_unreachable"), None),
        (event(Kind.PEER_LOST, runner="eu-1"), "eu-1 cannot be reached; what runs there goes on"),
        (event(Kind.PEER_BACK, runner="eu-1"), "eu-1 is reached again"),
        (event(Kind.LATE_RESULT, attempt=2, status="failed"), "attempt 2, which was given up, has ended: failed"),
        (event(Kind.TASK_READY), None),
    ],
)
def test_what_a_person_is_told(told: Event, line: str | None) -> None:
    assert event_line(told, 1.5) == line


def test_an_error_cannot_move_the_cursor() -> None:
    line = event_line(event(Kind.TASK_FINISHED, status="errored", error="no\x1b[2J\rsuch\u202ething"), None)
    assert line == "errored: no\\x1b[2J\\rsuch\\u202ething"


def test_an_error_of_several_lines_is_told_on_one() -> None:
    error = "2 expressions cannot be resolved:\nline 1: a\nline 7: b"
    line = event_line(event(Kind.TASK_FINISHED, status="failed", error=error), None)
    assert line == "failed: 2 expressions cannot be resolved: line 1: a; line 7: b"


def test_long_values_are_cut_for_people() -> None:
    assert shortened("x" * MAX_SHOWN) == "x" * MAX_SHOWN
    assert shortened("x" * (MAX_SHOWN + 1)) == "x" * MAX_SHOWN + " …"


def test_the_summary_tells_what_did_not_succeed_and_shows_no_secret() -> None:
    results = {
        "build": TaskResult(
            id="g/build",
            name="build",
            status=Status.SUCCESS,
            outputs={"url": Value("https://x"), "token": Value("hunter22", confidential=True)},
        ),
        "test": TaskResult(id="g/test", name="test", status=Status.FAILED, exit_code=3, attempts=2),
        "deploy": TaskResult(
            id="g/deploy", name="deploy", status=Status.SKIPPED, reason="dependency_failed", because_of="test"
        ),
    }
    result = TaskGroupResult(
        id="g",
        name="ship",
        status=Status.FAILED,
        started_at="2026-01-31T09:30:00.000000Z",
        finished_at="2026-01-31T09:30:02.500000Z",
        results=results,
    )
    assert list(summary(result)) == [
        "ship: failed after 2.5 s: 1 success, 1 failed, 1 skipped",
        "  test    failed in 2 attempts: exit code 3",
        "  deploy  skipped because test did not succeed",
        "outputs:",
        "  build.url = https://x",
        "  build.token = ***",
    ]
    assert "  build.token = hunter22" in summary(result, reveal=True)


def test_nothing_takes_less_than_no_time() -> None:
    """The clock may be set back while a group runs."""
    result = TaskGroupResult(
        id="g",
        name="ship",
        status=Status.SUCCESS,
        started_at="2026-01-31T09:30:02.500000Z",
        finished_at="2026-01-31T09:30:00.000000Z",
        results={"t": TaskResult(id="g/t", name="t", status=Status.SUCCESS)},
    )
    assert list(summary(result)) == ["ship: success: 1 success"]


def test_the_headline_tells_the_id_that_goes_on_with_a_run() -> None:
    assert headline("ship", 2, "8c1f") == "ship: 2 tasks, run 8c1f"
    assert headline("", 1, "8c1f") == "task group: 1 task, run 8c1f"


def test_what_survived_is_told() -> None:
    kill = {
        "signals": [["SIGKILL", 0.0]],
        "left": [{"pid": 7, "name": "a\x1b[2J", "state": "D"}, {"pid": 8, "name": "b"}],
    }
    results = {"t": TaskResult(id="g/t", name="t", status=Status.SUCCESS, kill=kill)}
    result = TaskGroupResult(id="g", name="ship", status=Status.SUCCESS, results=results)
    warning = "warning: could not be ended and still runs: "
    _, line = summary(result)
    assert line.startswith(f"  t  {warning}a")
    assert line.endswith("(7), b (8)")
    assert "\x1b" not in line
    assert (event_line(event(Kind.KILL_REPORT, left=kill["left"]), None) or "").startswith(warning)
    assert event_line(event(Kind.KILL_REPORT, signals=[["SIGTERM", 0.0]], left=[]), None) is None


def test_it_is_told_where_a_task_runs_that_was_given_to_another_runner() -> None:
    tasks = [
        TaskResult(id=name, name=name, status=Status.RUNNING, attempts=1, runner=runner)
        for name, runner in (("far", "b/c\x1b"), ("near", "local"), ("begun", None))
    ]
    told = list(
        summary(TaskGroupResult(id="g", name="g", status=Status.RUNNING, results={task.name: task for task in tasks}))
    )
    assert [line.rstrip() for line in told[1:]] == [
        "  far    running on b/c\\x1b",
        "  near   running",
        "  begun  running",
    ]


def test_no_reason_of_ours_is_told_as_it_is_spelt() -> None:
    failed = TaskResult(id="a", name="a", status=Status.ERRORED, attempts=1, reason="log_failed")
    assert "log_failed" not in "\n".join(
        summary(TaskGroupResult(id="g", name="g", status=Status.ERRORED, results={"a": failed}))
    )
