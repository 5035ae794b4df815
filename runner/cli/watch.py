"""`runner watch ID`: what a group does, from its beginning to its end."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import Protocol

from runner.cli import ids, outcome, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, found_again, with_groups
from runner.cli.report import headline
from runner.cli.standstill import Standstill
from runner.cli.tails import Tails
from runner.cli.terminal import STDOUT, Output, complain
from runner.cli.view import Shown, add_progress_argument, is_live, opened
from runner.model.result import Reason

NAMES = 1000
"""So many names of tasks count for the width of their column."""


def run(options: Namespace) -> int:
    return with_groups(options, _watch)


async def _watch(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    stdout = Output(STDOUT)
    if options.output == "json":
        async for happenings in groups.watch_in_batches(id):
            text = "\n".join(plain.line(plain.happening(happening)) for happening in happenings)
            await asyncio.to_thread(stdout.print, text)
            if stdout.lost is not None:
                break
        result = await groups.result(id, limit=1)
    else:
        live, tails = is_live(options.progress, STDOUT, machine=False), Tails()
        await show(groups, id, stdout, tails, partial(Standstill, id, found_again(options)), live=live)
        result = await groups.result(id)
        text = outcome.closed(result, tails, found_again(options), stdout, machine=False)
        await asyncio.to_thread(stdout.print, f"\n{text}")
    if result.reason == Reason.RUNNER_LOST:
        complain(f"nobody carries {id} out any more; `runner run --id {id}` with the same file takes it up")
    return stdout.status(outcome.status(result))


class MakeStandstill(Protocol):
    def __call__(self, *, typed: Callable[[int], None]) -> Standstill: ...


async def show(
    groups: Groups, id: str, output: Output, tails: Tails, make_standstill: MakeStandstill, *, live: bool
) -> None:
    """Its headline, and its story to the end. `tails` are given the story too, and what tells where it stands still."""
    summary = await groups.summary(id)
    first = await groups.result(id, limit=NAMES)
    total = sum(summary.counts.values())
    await asyncio.to_thread(output.print, headline(summary.name, total, id))
    results = list(first.results.values())
    ask = partial(groups.explain, id)
    shown = Shown(names=list(first.results), total=total, ask=ask, results=results)
    view = await opened(shown, output, tails, live=live)
    standstill = make_standstill(typed=view.typed)
    with standstill.attended():
        await view.show(standstill.tapped(groups.watch_in_batches(id)))


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Show what a group does, from its beginning to its end. The exit status is 0 if it succeeds, 1 if not. "
        "Ctrl-C ends the watching; the group goes on."
    )
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    add_progress_argument(parser)
    add_output_argument(parser, "a line for each event and piece of output")
    add_place_arguments(parser)
