"""`runner get ID`: what has become of a group so far."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli import ids, outcome
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.terminal import STDOUT, Output


def run(options: Namespace) -> int:
    """0 when it could be told, whatever it is: `runner watch` tells by its exit status."""
    return with_groups(options, _get)


async def _get(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    result = await groups.result(id, reveal=options.reveal)
    stdout = Output(STDOUT)
    stdout.print(outcome.told(result, machine=options.output == "json", reveal=options.reveal))
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument(
        "--reveal", action="store_true", help="show confidential outputs; only to who submitted the group"
    )
    add_output_argument(parser, "the result, as `runner run --output json` gives it")
    add_place_arguments(parser)
