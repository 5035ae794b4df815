"""`runner signal ID TASK SIGNAL`: pause a running task, let it go on, or kill it; say what follows from its failure."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli import ids, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.terminal import STDOUT, Output
from runner.model.dispatch import CONTINUE, DECISIONS, RETRY

SIGNALS = {
    "pause": "is paused",
    "start": "goes on",
    "destroy": "is killed",
    RETRY: "is tried once more",
    CONTINUE: "has failed, and the group goes on",
}


def run(options: Namespace) -> int:
    """1 where the task does not run, or nobody waits for what follows from its failure."""
    return with_groups(options, _signal)


async def _signal(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    delivered = await groups.signal(id, options.task, options.signal)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line({"id": id, "task": options.task, "signal": options.signal, "delivered": delivered}))
    else:
        lacks = "has no failure that waits for a decision" if options.signal in DECISIONS else "does not run"
        stdout.print(f"{options.task} {SIGNALS[options.signal] if delivered else lacks}")
    return stdout.status(0 if delivered else 1)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument("task", metavar="TASK", help="a task of it that runs, or for whose failure it stands still")
    parser.add_argument(
        "signal", choices=list(SIGNALS),
        help="pause it, start it again (go on), or destroy (kill) it; retry it or continue with its failure, where the group stands still for that",
    )  # fmt: skip
    add_output_argument(parser, "whether it was delivered")
    add_place_arguments(parser)
