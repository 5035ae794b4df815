"""`runner validate FILE…`: say everything that is wrong with documents, without running anything."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from runner import tasktypes
from runner.cli.document import STDIN, read_document, source_name
from runner.cli.options import settings_of
from runner.cli.terminal import STDERR, STDOUT, Output, visible
from runner.errors import DocumentError, UsageError
from runner.model.fault import Fault
from runner.validation.forwarding import unjudged

MAX_SHOWN = 200


def run(options: Namespace) -> int:
    """0 when every document is valid (warnings are allowed), else 2."""
    if options.files.count(STDIN) > 1:
        raise UsageError("standard input can be read only once; give - once")
    registry = tasktypes.registry(settings_of(options))
    stdout, stderr = Output(STDOUT), Output(STDERR)
    verdicts = []
    for name in options.files:
        tasks = 0
        faults: tuple[Fault, ...]
        try:
            loaded = read_document(name, registry, unjudged)
            tasks, faults = len(loaded.group.tasks), loaded.warnings
        except DocumentError as error:
            faults = tuple(fault for fault in error.faults if isinstance(fault, Fault))
        except UsageError as error:
            # Told like a fault, so that the other files are still looked at.
            faults = (
                Fault(path=(), message=error.message.removeprefix(f"{source_name(name)}: "), source=source_name(name)),
            )
        valid = all(fault.warning for fault in faults)
        verdicts.append((name, valid, faults))
        if options.output == "text":
            _tell(stderr, faults)
            if valid:
                stdout.print(visible(f"{source_name(name)}: valid, {tasks} task{'s' * (tasks != 1)}"))
    if options.output == "json":
        stdout.print(json.dumps({"files": [_plain(*verdict) for verdict in verdicts]}, indent=2, ensure_ascii=False))
    return stdout.status(0 if all(valid for _, valid, _ in verdicts) else 2)


def _tell(stderr: Output, faults: Sequence[Fault]) -> None:
    for fault in faults[:MAX_SHOWN]:
        stderr.print(visible(str(fault)))
    if len(faults) > MAX_SHOWN:
        stderr.print(f"… and {len(faults) - MAX_SHOWN} more; --output json shows all")


def _plain(name: str, valid: bool, faults: Sequence[Fault]) -> dict[str, object]:
    return {"source": source_name(name), "valid": valid, "faults": [fault.as_json() for fault in faults]}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="task groups, YAML or JSON; - for standard input")
    parser.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: every fault with its place, on stdout"
    )
