"""`runner ls`: the groups of a node, or the runs that are kept here, the last accepted first."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from datetime import datetime

from runner.cli import plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument, label, positive
from runner.cli.place import add_place_arguments, chosen, with_groups
from runner.cli.report import reason_text, replaced, standstill
from runner.cli.terminal import STDOUT, Output, complain, visible
from runner.model import duration as durations
from runner.model.query import GroupFilter
from runner.model.result import Status
from runner.model.summary import GroupSummary
from runner.model.words import duration

SHOWN = 50
_HEAD = ("ID", "STATUS", "ACCEPTED", "TOOK", "NAME")
_STATUSES = [status.value for status in Status if status is not Status.SKIPPED]


def run(options: Namespace) -> int:
    return with_groups(options, _list)


async def _list(groups: Groups, options: Namespace) -> int:
    stdout = Output(STDOUT)
    wanted = GroupFilter(
        statuses=frozenset(map(Status, options.status)), labels=dict(options.label), accepted_from=options.since
    )
    found: list[GroupSummary] = []
    more = False
    async for summary in groups.list(wanted):
        more = len(found) == options.limit
        if more or stdout.lost is not None:
            break
        found.append(summary)
        if options.output == "json":
            stdout.print(plain.line(plain.summary(summary)))
    if options.output == "text" and found:
        for row in _table([_HEAD, *map(_row, found)]):
            stdout.print(row)
        if more:
            stdout.print(f"… and more: --limit shows as many as you like, e.g. --limit {10 * options.limit}")
    if not found and options.output == "text":
        complain(_nothing(options))
    return stdout.status(0)


def _nothing(options: Namespace) -> str:
    narrowed = options.status or options.label or options.since is not None
    if chosen(options) is not None:
        return (
            "no group of this node that you may see is like that"
            if narrowed
            else "this node has no groups for you to see"
        )
    if narrowed:
        return "no run that is kept here is like that"
    return "no run is kept here; what a node has is listed with --to or a context"


def _row(summary: GroupSummary) -> Sequence[str]:
    reason = reason_text(summary.reason) if summary.reason else ""
    if summary.replaced_by:
        reason = replaced(summary.replaced_by)
    if summary.waits_for:
        reason = f"waits for group {visible(summary.waits_for)}"
    if summary.paused_by:
        reason = standstill(summary.paused_by)
    status = f"{summary.status} ({reason})" if reason else summary.status.value
    end = summary.finished_at or (None if summary.status.terminal else time.time())
    took = "" if summary.started_at is None or end is None else duration(max(0.0, end - summary.started_at))
    accepted = datetime.fromtimestamp(summary.accepted_at).strftime("%Y-%m-%d %H:%M:%S")
    return summary.id, status, accepted, took, visible(summary.name)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _since(text: str) -> float:
    """A duration before now, or a date with or without a time, for argparse; seconds since the epoch."""
    try:
        return time.time() - durations.parse(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp()
        except ValueError:
            expected = "a span such as 2h or 7d, or a time such as 2026-01-31 or 2026-01-31T09:30"
            raise ArgumentTypeError(f"{text!r}: expected {expected}") from None


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--status", action="append", default=[], choices=_STATUSES, help="only those with this status; may be repeated"
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        type=label,
        metavar="KEY=VALUE",
        help="only those with this label, or with KEY alone with any such; may be repeated",
    )
    parser.add_argument("--since", metavar="TIME", type=_since, help="accepted since, e.g. 2h, 7d or 2026-01-31")
    parser.add_argument("--limit", metavar="N", type=positive, default=SHOWN, help=f"how many at most ({SHOWN})")
    add_output_argument(parser, "a line for each group")
    add_place_arguments(parser)
