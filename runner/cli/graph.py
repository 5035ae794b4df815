"""`runner graph FILE`: draw what waits for what."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from runner import node as nodes
from runner.cli.document import read_document
from runner.cli.drawing import draw, in_order, layers_of
from runner.cli.options import add_output_argument, settings_of
from runner.cli.terminal import STDOUT, Output
from runner.model.group import TaskGroup


def run(options: Namespace) -> int:
    loaded = read_document(options.file, nodes.registry(settings_of(options)))
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(json.dumps(_plain(loaded.group), indent=2, ensure_ascii=False))
    else:
        stdout.print("\n".join(draw(loaded.group)))
    return stdout.status(0)


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
    add_output_argument(parser, "the tasks in an order in which they may run, and what each waits for")
