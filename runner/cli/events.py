"""`runner events ID`: the numbered facts about a group."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import datetime

from runner.cli import ids, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.report import shortened
from runner.cli.terminal import STDOUT, Output, visible
from runner.model.event import Event
from runner.model.watch import Happening


def run(options: Namespace) -> int:
    return with_groups(options, _events)


async def _events(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    stdout = Output(STDOUT)
    say = _plain if options.output == "json" else _told
    async for happenings in groups.events(id, follow=options.follow):
        await asyncio.to_thread(stdout.print, "\n".join(map(say, _of(happenings))))
        if stdout.lost is not None:
            break
    return stdout.status(0)


def _of(happenings: Sequence[Happening]) -> Sequence[Event]:
    return [happening for happening in happenings if isinstance(happening, Event)]


def _plain(event: Event) -> str:
    return plain.line(plain.event(event))


def _told(event: Event) -> str:
    at = datetime.fromtimestamp(event.at).strftime("%H:%M:%S.%f")[:-3]
    place = f"{event.task}/{event.attempt}" if event.task and event.attempt else event.task or ""
    fields = " ".join(f"{name}={shortened(str(value))}" for name, value in event.fields.items() if value is not None)
    return f"{event.number:>5} {at} {event.kind.value:16} {visible(place)} {fields}".rstrip()


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the group is over")
    add_output_argument(parser, "a line for each event")
    add_place_arguments(parser)
