"""`runner secrets rotate`: a new sealing key in the place of the old one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from msgspec.structs import asdict

from runner.cli import plain
from runner.cli.options import add_configuration_options, add_output_argument, node_state_dir_of
from runner.cli.terminal import STDOUT, Output, complain
from runner.config.keys import STATE_DIR
from runner.rotation import Rotated, rotate

INCOMPLETE = 1
MOST_NAMED = 5


def run(options: Namespace) -> int:
    """0 when nothing is sealed with the former key any more, 1 when it has to be done again."""
    rotated = rotate(node_state_dir_of(options))
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line(asdict(rotated)))
    else:
        stdout.print("\n".join(_lines(rotated)))
    if rotated.not_compacted:
        complain(
            "there was no room to compact the state: values sealed with the former key may lie in unused parts of it; free some space and give this command again"
        )
    if rotated.unknown:
        complain(
            f"groups of another version of the runner, which will be taken for others when submitted again; give those another id: {_named(rotated.unknown)}"
        )
    if rotated.in_use:
        complain(
            f"runs that are in use were left out: {_named(rotated.in_use)}; when they are over, give this command again"
        )
        return stdout.status(INCOMPLETE)
    return stdout.status(0)


def _lines(rotated: Rotated) -> list[str]:
    begun = "the key was replaced before" if rotated.resumed else "the key was replaced"
    return [
        f"{begun}: {rotated.former} by {rotated.key}",
        f"sealed anew: {rotated.values:,} values and {rotated.held_back:,} parts of logs, in {rotated.groups:,} groups",
        "the former key is gone; backups that were taken before need it"
        if not rotated.in_use
        else "the former key is kept beside the new one",
    ]


def _named(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else "")


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    about = "put a new sealing key in the place of the old one, and seal anew all that was sealed with that; the node must not run"
    rotate_parser = commands.add_parser("rotate", help=about, description=about, allow_abbrev=False)
    add_output_argument(rotate_parser, "which keys, what was sealed anew, and what was left out")
    add_configuration_options(rotate_parser, (STATE_DIR,))
