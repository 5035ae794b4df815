"""`runner schema`: the JSON Schema of task groups, for editors."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from runner import schema, tasktypes
from runner.cli.options import settings_of
from runner.cli.terminal import STDOUT, Output


def run(options: Namespace) -> int:
    documents = schema.of_documents(tasktypes.registry(settings_of(options)))
    stdout = Output(STDOUT)
    stdout.print(json.dumps(documents, indent=2, ensure_ascii=False))
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = (
        "Keep it in a file, and name that in the first line of a document: # yaml-language-server: $schema=FILE"
    )
