"""`runner graph FILE`: draw what waits for what."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner import node as nodes
from runner.cli.document import read_document
from runner.cli.drawing import draw
from runner.cli.options import settings_of
from runner.cli.terminal import STDOUT, Output


def run(options: Namespace) -> int:
    loaded = read_document(options.file, nodes.registry(settings_of(options)))
    stdout = Output(STDOUT)
    stdout.print("\n".join(draw(loaded.group)))
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the task group, YAML or JSON; - for standard input")
