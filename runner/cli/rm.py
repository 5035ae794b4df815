"""`runner rm ID…`: remove groups that are over, with all that is kept of them."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress

from runner.cli import ids, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument, settings_of, span
from runner.cli.place import add_place_arguments, chosen, with_groups
from runner.cli.terminal import STDERR, STDOUT, Output, complain, visible
from runner.errors import GroupInUseError, GroupNotFoundError, UsageError
from runner.model.query import GroupFilter
from runner.model.result import Status
from runner.model.summary import GroupSummary
from runner.model.words import counted, listed
from runner.workspace import remove_temp

REMOVED, STAY, UNKNOWN = 0, 1, 2
OVER = frozenset(status for status in Status if status.terminal)


def run(options: Namespace) -> int:
    """0 when all went that were meant, 1 when one stays, 2 when one is not there."""
    if bool(options.ids) == (options.all or options.older_than is not None):
        raise UsageError("say which: give ids, or --all, or --older-than with a duration, e.g. 7d")
    return with_groups(options, _remove)


async def _remove(groups: Groups, options: Namespace) -> int:
    stdout = Output(STDOUT)
    if not options.ids:
        stay: list[str] = []
        for id in await _found(groups, options):
            try:
                await _remove_one(groups, id, options, stdout)
            except GroupNotFoundError:
                pass  # somebody else was faster
            except GroupInUseError as error:
                stay.append(f"{id}: {error.message}")
        if stay:
            complain(f"{counted(len(stay), 'group')} stay{'s' * (len(stay) == 1)}, e.g. {stay[0]}")
        return stdout.status(REMOVED)
    status = REMOVED
    for text in dict.fromkeys(options.ids):
        id = text
        try:
            id = await ids.resolve(groups, text)
            await _remove_one(groups, id, options, stdout)
        except GroupInUseError as error:
            complain(f"{id} stays: {error.message}")
            status = max(status, STAY)
        except (GroupNotFoundError, UsageError) as error:
            complain(error.message)
            status = UNKNOWN
    return stdout.status(status)


async def _remove_one(groups: Groups, id: str, options: Namespace, stdout: Output) -> None:
    await groups.remove(id)
    if chosen(options) is None:
        settings = settings_of(options)
        remove_temp(settings.temp_dir(settings.run_dir(id)))  # of one that was killed something may be left in memory
    stdout.print(plain.line({"id": id, "removed": True}) if options.output == "json" else f"{id} is removed")


async def _found(groups: Groups, options: Namespace) -> Sequence[str]:
    """The ids of those that are over, and were for long enough, once whoever is at the terminal agrees. Raises UsageError."""
    before = None if options.older_than is None else time.time() - options.older_than
    found = [
        summary
        async for summary in groups.list(GroupFilter(statuses=OVER))
        if before is None or (summary.finished_at or summary.accepted_at) < before
    ]
    if not found:
        complain("nothing is over" + ("" if before is None else " for so long") + ": there is nothing to remove")
    elif not options.force:
        _ask(found)
    return [summary.id for summary in found]


def _ask(found: Sequence[GroupSummary]) -> None:
    if not os.isatty(0):
        raise UsageError(f"{counted(len(found), 'group')} would be removed, and nobody can be asked here: give --force")
    callers = list(dict.fromkeys(summary.caller for summary in found))
    whose = f" of {visible(listed(callers))}" if len(callers) > 1 else ""
    what = f"{counted(len(found), 'group')}{whose} ({listed([summary.id for summary in found])})"
    Output(STDERR).write(f"remove {what}, with outputs and logs, for good? [y/N] ".encode())
    answer = ""
    with suppress(EOFError, UnicodeDecodeError):
        answer = sys.stdin.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was removed: only y or yes is taken for an agreement; --force does not ask")


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Remove groups that are over, for good: their state, outputs and logs, and what is encrypted of their secrets. What runs stays: `runner cancel` "
        "ends it. Without a node, it is what `runner run` has kept here, also of a run that was killed and that nobody takes up again."
    )
    parser.add_argument("ids", metavar="ID", nargs="*", help=f"{ids.HELP}; several may be given")
    parser.add_argument("--all", action="store_true", help="all that are over and that you may see")
    parser.add_argument(
        "--older-than", metavar="DURATION", type=span, help="all that have been over for so long, e.g. 12h or 7d"
    )
    parser.add_argument("--force", action="store_true", help="with --all or --older-than: do not ask")
    add_output_argument(parser, "a line for each that is gone")
    add_place_arguments(parser)
