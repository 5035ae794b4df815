"""`runner cancel ID`: end a group early."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli import ids, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.terminal import STDOUT, Output


def run(options: Namespace) -> int:
    return with_groups(options, _cancel)


async def _cancel(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    status = await groups.cancel(id, at_once=options.at_once)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line({"id": id, "status": status.value}))
    elif status.terminal:
        stdout.print(f"{id} is over: {status}")
    else:
        rest = "without clean-up" if options.at_once else "running tasks are asked to end, clean-up still runs"
        stdout.print(f"{id} is being cancelled: {rest}")
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = "End a group early: running tasks are asked to end, and `when: always` tasks still clean up. Repeated it changes nothing."
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument(
        "--at-once", action="store_true", help="end the clean-up too, and do not wait for those that are asked"
    )
    add_output_argument(parser, "its id and status")
    add_place_arguments(parser)
