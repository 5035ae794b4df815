"""A picture of a task group, as SVG: from left to right, what a task waits for on its left. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from runner.cli import layout
from runner.cli.diagrams import label, notes, taken
from runner.cli.layout import Layout
from runner.cli.terminal import visible
from runner.model.group import TaskGroup
from runner.model.task import Task, When

LETTER = 7.3
"""The width of a letter, in pixels."""
ROW, BOX, GAP, MARGIN, LINE = 64, 46, 70, 20, 16

_NO_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
_STYLE = """
    text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1f2328 }
    .type, .variables { fill: #656d76; font-size: 11px }
    .title { font-weight: bold; font-size: 14px }
    rect { fill: #f6f8fa; stroke: #656d76 }
    .failure rect { stroke: #cf222e; stroke-dasharray: 5 3 }
    .always rect { stroke: #1a7f37; stroke-width: 2 }
    path { fill: none; stroke: #656d76 }
    .order { stroke-dasharray: 4 3 }
    marker path { fill: #656d76; stroke: none }
"""


def draw(group: TaskGroup) -> Iterator[str]:
    """Line by line. Nothing in the document can leave the text that it is in."""
    places = layout.of(group.tasks)
    widths = [0.0] * places.columns
    for task in group.tasks:
        longest = max(map(len, label(task)))
        column = places.places[task.name][0]
        widths[column] = max(widths[column], longest * LETTER + 24)
    lefts = [MARGIN + sum(widths[:column]) + GAP * column for column in range(places.columns)]
    title = _text(group.name or "task group")
    width = max(lefts[-1] + widths[-1], len(title) * 9.0) + MARGIN
    height = places.height * ROW + 2 * MARGIN + 24
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(title)}>'
    )
    yield f"  <title>{escape(title)}</title>"
    yield f"  <style>{_STYLE}  </style>"
    yield '  <defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
    yield '  <rect width="100%" height="100%" style="fill: #ffffff; stroke: none"/>'
    yield f'  <text class="title" x="{MARGIN}" y="{MARGIN + 6}">{escape(title)}</text>'
    for task in group.tasks:
        yield from _edges(task, places, lefts, widths)
    for task in group.tasks:
        yield from _node(task, places, lefts, widths)
    yield "</svg>"


def _y(at: float) -> float:
    return at * ROW + MARGIN + 24


def _node(task: Task, places: Layout, lefts: list[float], widths: list[float]) -> Iterator[str]:
    column, at = places.places[task.name]
    x, y = lefts[column], _y(at) - BOX / 2
    kind = "" if task.when is When.SUCCESS else f' class="{task.when}"'
    yield f"  <g{kind}>"
    about = "\n".join(filter(None, [task.name, task.description, *notes(task)]))
    yield f"    <title>{escape(_text(about))}</title>"
    yield f'    <rect x="{x:.1f}" y="{y:.1f}" width="{widths[column]:.1f}" height="{BOX}" rx="6"/>'
    for number, line in enumerate(label(task)):
        dress = ' class="type"' if number else ""
        yield f'    <text{dress} x="{x + 12:.1f}" y="{y + 19 + LINE * number:.1f}">{escape(_text(line))}</text>'
    yield "  </g>"


def _edges(task: Task, places: Layout, lefts: list[float], widths: list[float]) -> Iterator[str]:
    to, end = places.places[task.name]
    for edge, variables in taken(task).items():
        column, at = places.places[edge]
        x, y = lefts[column] + widths[column], _y(at)
        path = f"M{x:.1f} {y:.1f}"
        for between, height in (*places.routes[edge, task.name], (to, end)):
            left, next_y = lefts[between], _y(height)
            middle = (x + left) / 2
            path += f"C{middle:.1f} {y:.1f} {middle:.1f} {next_y:.1f} {left:.1f} {next_y:.1f}"
            x, y = left, next_y
            if between != to:
                x += widths[between]
                path += f"H{x:.1f}"
        dress = "" if variables else ' class="order"'
        yield f'  <path{dress} d="{path}" marker-end="url(#arrow)"><title>{escape(_text(_told(edge, task, variables)))}</title></path>'


def _told(edge: str, task: Task, variables: list[str]) -> str:
    return f"{edge} → {task.name}" + (f": {', '.join(variables)}" if variables else "")


def _text(text: str) -> str:
    """What may stand in XML, and moves nothing where it is shown."""
    return "\n".join(_NO_XML.sub("\ufffd", visible(line)) for line in text.split("\n"))
