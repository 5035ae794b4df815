"""What is said when a run that was looked at is over: what failed, why, the last that it printed, what was skipped because of it, and
by which commands one sees more. Pure.

    ship: failed after 14.2 s: 2 success, 1 failed, 1 skipped
      lint    failed: exit code 2
              | src/a.py:3: E501 line too long
              | Found 1 error
      deploy  skipped because lint did not succeed
    to see more:
      runner logs 8c1f lint  all that it printed
      runner explain 8c1f    why it ended like this
      runner rerun 8c1f      again, without what was successful
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from runner.cli.report import column, is_told_of, outputs, shortened, told_of, verdict
from runner.cli.tails import MOST_LINES, Tails
from runner.model.result import Reason, Skip, Status, TaskGroupResult, TaskResult
from runner.model.words import counted, listed

MOST_ROWS = 30
"""Where more than so many tasks have something to be said of, only of so many of those that failed it is said one by one."""

_FAILURES = (Status.FAILED, Status.ERRORED)


def closing(
    result: TaskGroupResult, tails: Tails, place: str = "", *, reveal: bool = False, columns: int = 0
) -> Iterator[str]:
    """`place` is what commands need beside the id to find the group, with a space before it. What is said is broken between words
    for a terminal of so many `columns`, 0 for none; commands and what was printed stay as they are."""
    yield from _broken(verdict(result), 2, columns)
    tasks = [task for task in result.results.values() if is_told_of(task)]
    failed = [task for task in tasks if task.status in _FAILURES]
    few = len(tasks) <= MOST_ROWS
    shown = tasks if few else (failed or tasks)[:MOST_ROWS]
    width = column(task.name for task in shown)
    followers = {} if few else _followers(result)
    for task in shown:
        for line in told_of(task, width):
            yield from _broken(line, width + 4, columns)
        if task.status in _FAILURES:
            yield from _printed(task, tails, " " * (width + 4))
        if skipped := followers.get(task.name):
            yield f"{' ' * (width + 4)}{counted(len(skipped), 'task')} skipped because of it: {listed(skipped)}"
    if not few:
        yield f"  … and {_rest(tasks, shown)}: `runner get {result.id}{place}` tells of each"
    yield from outputs(result, reveal=reveal)
    yield from _more(result, failed, place, columns)


def _broken(line: str, indent: int, columns: int) -> Sequence[str]:
    """The line, or several where it is too long, all but the first behind an indent, or a small one where that would take most of a line."""
    if not columns or len(line) <= columns:
        return (line,)
    from textwrap import wrap  # of use to few

    start = len(line) - len(line.lstrip())
    return wrap(
        line.lstrip(), columns, initial_indent=" " * start, subsequent_indent=" " * (indent if indent <= columns // 2 else 4),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _printed(task: TaskResult, tails: Tails, indent: str) -> Iterator[str]:
    tail = tails.of_failed(task.name)
    lines = [] if tail is None else tail.lines(MOST_LINES)
    yield from (f"{indent}| {shortened(line)}" for line in lines)


def _followers(result: TaskGroupResult) -> Mapping[str, Sequence[str]]:
    """For tasks that failed, those that were skipped because of them, be it by way of others."""
    origins: dict[str, str | None] = {}
    found: dict[str, list[str]] = {}
    for task in result.results.values():
        way: list[str] = []
        at: TaskResult | None = task
        while at is not None and at.name not in origins and at.status is Status.SKIPPED:
            way.append(at.name)
            at = result.results.get(at.because_of or "") if at.reason != Skip.GROUP_ABORTED else None
        if at is not None:
            origins.update(dict.fromkeys(way, origins.get(at.name, at.name if at.status in _FAILURES else None)))
        if origin := origins.get(task.name):
            found.setdefault(origin, []).append(task.name)
    return found


def _rest(tasks: Sequence[TaskResult], shown: Sequence[TaskResult]) -> str:
    """How many are left, of each status."""
    left = {status: sum(task.status is status for task in tasks) for status in Status}
    for task in shown:
        left[task.status] -= 1
    return ", ".join(f"{number:,} {status}" for status, number in left.items() if number)


def _has_begun(task: TaskResult) -> bool:
    """Whether there may be something that it printed: not of an only attempt that nobody took."""
    return task.attempts > 1 or (task.attempts == 1 and task.reason not in (Reason.REFUSED, Reason.UNKNOWN_TYPE))


def _more(result: TaskGroupResult, failed: Sequence[TaskResult], place: str, columns: int) -> Iterator[str]:
    if result.status is Status.SUCCESS or not result.status.terminal or result.reason == Reason.STATE_NOT_WRITTEN:
        return
    printed = next((task.name for task in failed if _has_begun(task)), None)
    commands = [(f"runner logs {result.id} {shlex.quote(printed)}{place}", "all that it printed")] if printed else []
    commands += [
        (f"runner explain {result.id}{place}", "why it ended like this"),
        (f"runner rerun {result.id}{place}", "again, without what was successful"),
    ]
    width = max(len(command) for command, _ in commands)
    if columns and any(width + 4 + len(about) > columns for _, about in commands):
        width = 0  # a column that has no room would break lines that have
    yield "to see more:"
    yield from (f"  {command:{width}}  {about}" for command, about in commands)
