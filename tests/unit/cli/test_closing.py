from __future__ import annotations

import pytest

from runner.cli.closing import MOST_ROWS, closing
from runner.cli.tails import Tails
from runner.model.event import Event, Kind
from runner.model.log import Frame
from runner.model.result import Status, TaskGroupResult, TaskResult
from runner.model.value import Value
from runner.model.watch import LogChunk


def task(name: str, status: Status = Status.SUCCESS, **more: object) -> TaskResult:
    return TaskResult(id=f"g/{name}", name=name, status=status, attempts=1, **more)  # type: ignore[arg-type]  # as given


def skipped(name: str, because_of: str, reason: str = "dependency_skipped") -> TaskResult:
    return TaskResult(id=name, name=name, status=Status.SKIPPED, reason=reason, because_of=because_of)


def result(*tasks: TaskResult, status: Status = Status.FAILED, reason: str | None = None) -> TaskGroupResult:
    return TaskGroupResult(
        id="8c1f", name="ship", status=status, reason=reason, results={task.name: task for task in tasks}
    )


def tails_of(name: str, data: bytes) -> Tails:
    tails = Tails()
    tails.take(LogChunk(task=name, attempt=1, frame=Frame(stream="stdout", offset=0, data=data, at=0.0, position=0)))
    fields = {"status": "failed"}
    tails.take(Event(group="g", number=1, at=0.0, kind=Kind.TASK_FINISHED, task=name, attempt=1, fields=fields))
    return tails


def test_what_failed_what_it_printed_what_followed_and_what_to_do() -> None:
    ended = result(
        task("build", outputs={"url": Value("https://x")}),
        task("lint", Status.FAILED, exit_code=2),
        skipped("deploy", "lint", "dependency_failed"),
    )
    tails = tails_of("lint", b"\x1b[31mE501\x1b[0m line\n" + b"y" * 400 + b"\n")
    assert list(closing(ended, tails, " --to here")) == [
        "ship: failed: 1 success, 1 failed, 1 skipped",
        "  lint    failed: exit code 2",
        "          | E501 line",
        f"          | {'y' * 300} …",
        "  deploy  skipped because lint did not succeed",
        "outputs:",
        "  build.url = https://x",
        "to see more:",
        "  runner logs 8c1f lint --to here  all that it printed",
        "  runner explain 8c1f --to here    why it ended like this",
        "  runner rerun 8c1f --to here      again, without what was successful",
    ]


def test_the_column_of_names_is_as_wide_as_those_take_of_which_something_is_said() -> None:
    long = "check[" + "x" * 40 + "]"
    ended = result(task("a-success-with-a-name"), task("lint", Status.FAILED, exit_code=2), skipped("ship", "lint"))
    assert list(closing(ended, Tails()))[1] == "  lint  failed: exit code 2"
    ended = result(task(long, Status.FAILED, exit_code=1), task("lint", Status.FAILED, exit_code=2))
    assert list(closing(ended, Tails()))[1:3] == [f"  {long}  failed: exit code 1", "  lint  failed: exit code 2"]


def test_for_a_terminal_what_is_said_is_broken_between_words_and_nothing_else_is() -> None:
    ended = result(
        task("lint", Status.FAILED, exit_code=2, error="something that takes many words to say"),
        skipped("ship", "lint"),
    )
    told = list(closing(ended, tails_of("lint", b"printed in a line that is longer than forty columns\n"), columns=40))
    assert told == [
        "ship: failed: 1 failed, 1 skipped",
        "  lint  failed: exit code 2, something",
        "        that takes many words to say",
        "        | printed in a line that is longer than forty columns",
        "  ship  skipped because lint was skipped",
        "to see more:",
        "  runner logs 8c1f lint  all that it printed",
        "  runner explain 8c1f  why it ended like this",
        "  runner rerun 8c1f  again, without what was successful",
    ]
    assert list(closing(ended, Tails(), columns=20))[:2] == ["ship: failed: 1", "  failed, 1 skipped"]
    assert list(closing(ended, Tails(), columns=20))[3] == "        code 2,"


def test_of_a_success_nothing_more_is_said() -> None:
    ended = result(task("a"), task("b", Status.FAILED, exit_code=1), status=Status.SUCCESS)  # which was allowed
    assert list(closing(ended, Tails())) == ["ship: success: 1 success, 1 failed", "  b  failed: exit code 1"]


@pytest.mark.parametrize(("status", "reason"), [(Status.ERRORED, "state_not_written"), (Status.RUNNING, "runner_lost")])
def test_nothing_is_advised_that_would_not_work(status: Status, reason: str) -> None:
    assert "to see more:" not in list(closing(result(task("a", Status.FAILED), status=status, reason=reason), Tails()))


def test_a_log_is_offered_where_there_is_one() -> None:
    never = TaskResult(id="a", name="a", status=Status.ERRORED, reason="bad_template")
    refused = [task(f"r{reason}", Status.ERRORED, reason=reason) for reason in ("refused", "unknown_type")]
    lines = list(closing(result(never, *refused, status=Status.ERRORED), Tails()))
    assert [line.split()[1] for line in lines if line.startswith("  runner")] == ["explain", "rerun"]


def test_of_very_many_only_some_are_told_one_by_one() -> None:
    failed = [task(f"f{number}", Status.FAILED, exit_code=1) for number in range(100)]
    followers = [skipped("s0", "f0", "dependency_failed"), *(skipped(f"s{n}", f"s{n - 1}") for n in range(1, 900))]
    aborted = [skipped("late", "f1", "group_aborted"), task("stopped", Status.ABORTED, reason="cancelled")]
    lines = list(closing(result(*reversed(followers), *failed, *aborted), Tails()))
    assert len(lines) == 1 + MOST_ROWS + 1 + 1 + 4
    assert lines[1:4] == [
        "  f0   failed: exit code 1",
        "       900 tasks skipped because of it: s899, s898, s897, s896, s895 and 895 more",
        "  f1   failed: exit code 1",
    ]
    assert lines[-5] == "  … and 70 failed, 1 aborted, 901 skipped: `runner get 8c1f` tells of each"


def test_of_very_many_that_were_stopped_some_are_told() -> None:
    stopped = [task(f"t{number}", Status.ABORTED, reason="cancelled") for number in range(100)]
    lines = list(closing(result(*stopped, status=Status.ABORTED, reason="cancelled"), Tails()))
    assert len(lines) == 1 + MOST_ROWS + 1 + 3
    assert lines[MOST_ROWS + 1] == "  … and 70 aborted: `runner get 8c1f` tells of each"
