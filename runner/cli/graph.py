"""`runner graph FILE`: draw what waits for what."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

from runner import tasktypes
from runner.cli.document import read_document
from runner.cli.drawing import draw, in_order, layers_of
from runner.cli.options import settings_of
from runner.cli.terminal import STDOUT, Output
from runner.errors import UsageError
from runner.model.group import TaskGroup

FORMATS = ("text", "mermaid", "dot", "svg", "json")


def run(options: Namespace) -> int:
    if options.format and options.output:
        raise UsageError("--output and --format say the same: give one of them")
    loaded = read_document(options.file, tasktypes.registry(settings_of(options)))
    stdout = Output(STDOUT)
    stdout.print("\n".join(_drawn(loaded.group, options.format or options.output or "text")))
    return stdout.status(0)


def _drawn(group: TaskGroup, format: str) -> Iterable[str]:
    match format:
        case "json":
            return [json.dumps(_plain(group), indent=2, ensure_ascii=False)]
        case "svg":
            from runner.cli import svg

            return svg.draw(group)
        case "mermaid" | "dot":
            from runner.cli import diagrams

            return diagrams.mermaid(group) if format == "mermaid" else diagrams.dot(group)
    return draw(group)


def _plain(group: TaskGroup) -> dict[str, Any]:
    """Its tasks in an order in which they may run. `layer` counts from 1, as in the drawing."""
    tasks = in_order(group.tasks)
    layers = layers_of(tasks)
    return {
        "name": group.name,
        "depth": max(layers.values()) + 1,
        "tasks": [
            {
                "name": task.name,
                "type": task.type,
                "layer": layers[task.name] + 1,
                "waits_for": list(task.edges),
                "imports": [{"from": item.task, "variable": item.variable} for item in task.imports],
                "when": task.when.value,
                "if": task.condition,
            }
            for task in tasks
        ],
    }


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the task group, YAML or JSON; - for standard input")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text (the default); mermaid, which Markdown shows on forges; dot, for Graphviz; svg, a picture; json, the tasks in an order in which "
        "they may run, and what each waits for",
    )
    parser.add_argument("--output", choices=("text", "json"), help="the same as --format, as other commands have it")
