"""`runner supervisor`: the process that owns the tasks' processes, as a service of its own."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner import node as nodes
from runner.cli.options import add_configuration_options, configuration_of
from runner.config.keys import STATE_DIR


def run(options: Namespace) -> int:
    settings = configuration_of(options).settings
    options.state_dir = settings.state_dir  # where details are kept from here on
    nodes.become_supervisor(settings)


def add_arguments(parser: ArgumentParser) -> None:
    add_configuration_options(parser, (STATE_DIR,))
