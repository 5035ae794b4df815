"""`runner signal ID TASK SIGNAL`: pause a running task, let it go on, or kill it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli import ids, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.terminal import STDOUT, Output

SIGNALS = {"pause": "is paused", "start": "goes on", "destroy": "is killed"}


def run(options: Namespace) -> int:
    """1 where the task does not run."""
    return with_groups(options, _signal)


async def _signal(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    delivered = await groups.signal(id, options.task, options.signal)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line({"id": id, "task": options.task, "signal": options.signal, "delivered": delivered}))
    else:
        stdout.print(f"{options.task} {SIGNALS[options.signal] if delivered else 'does not run'}")
    return stdout.status(0 if delivered else 1)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument("task", metavar="TASK", help="a task of it that runs")
    parser.add_argument("signal", choices=list(SIGNALS), help="pause it, start it again (go on), or destroy (kill) it")
    add_output_argument(parser, "whether it was delivered")
    add_place_arguments(parser)
