"""`runner config check`: the configuration that a node would have, with where each value comes from; or every fault of it."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from runner.cli.options import add_configuration_options, configuration_of
from runner.cli.terminal import STDOUT, Output, complain
from runner.config import printing
from runner.errors import ConfigurationError
from runner.model.fault import Fault

REFUSED = 2


def run(options: Namespace) -> int:
    """0 when it is right (warnings are allowed), else 2."""
    stdout = Output(STDOUT)
    try:
        configuration = configuration_of(options)
    except ConfigurationError as error:
        if options.output == "text":
            raise
        faults = [fault.as_json() for fault in error.faults if isinstance(fault, Fault)]
        stdout.print(json.dumps({"valid": False, "faults": faults}, indent=2, ensure_ascii=False))
        return stdout.status(REFUSED)
    if options.output == "json":
        faults = [fault.as_json() for fault in configuration.warnings]
        data = {"valid": True, "faults": faults, **printing.as_data(configuration)}
        stdout.print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        for fault in configuration.warnings:
            complain(str(fault))
        stdout.print(printing.as_toml(configuration))
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    about = "show the configuration that a node would have, with where each value comes from; or every fault of it"
    check = commands.add_parser("check", help=about, description=about, allow_abbrev=False)
    add_configuration_options(check)
    check.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: values, sources and faults, on stdout"
    )
