"""The document of a group as it was stored, with its graph."""

from __future__ import annotations

from typing import NamedTuple

from runner import collector
from runner.engine.graph import Graph, build
from runner.model import codec
from runner.model.group import TaskGroup


class Document(NamedTuple):
    """`bytes` is how large it is, as it is stored."""

    group: TaskGroup
    graph: Graph
    bytes: int


def read(document: bytes) -> Document:
    """As it was stored."""
    with collector.at_rest():
        group = codec.decode_group(document)
        return Document(group, build(group.tasks), len(document))
