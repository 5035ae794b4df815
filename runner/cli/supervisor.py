"""`runner supervisor`: the process that owns the tasks' processes, as a service of its own."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner import node as nodes
from runner.cli.options import settings_of


def run(options: Namespace) -> int:
    nodes.become_supervisor(settings_of(options))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="the state directory of the runner that it serves"
    )
