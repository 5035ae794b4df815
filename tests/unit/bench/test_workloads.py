"""The benchmark's graphs are what they are said to be, for every contestant."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import workloads
from bench.peers import installed
from bench.workloads import GRAPHS, Workload
from runner import tasktypes
from runner.config import load_settings
from runner.model.group import TaskGroup
from runner.validation import load

Require = Callable[[str], None]


def parsed(text: str, tmp_path: Path) -> TaskGroup:
    settings = load_settings({}, state_dir=tmp_path)
    return load(text.encode(), source="bench", registry=tasktypes.registry(settings)).group


@pytest.mark.parametrize(
    ("graph", "count", "edges"),
    [
        (workloads.one(), 1, 0),
        (workloads.indep(50), 50, 0),
        (workloads.chain(20), 20, 19),
        (workloads.dag(4, 100), 400, 900),
    ],
    ids=["one", "indep", "chain", "dag"],
)
def test_a_graph_has_its_tasks_and_edges(graph: Workload, count: int, edges: int) -> None:
    assert graph.count == count
    assert sum(map(len, graph.parents)) == edges
    assert all(parent < index for index, parents in enumerate(graph.parents) for parent in parents)


def test_a_task_of_the_dag_needs_three_of_the_layer_before() -> None:
    graph = workloads.dag(3, 100)
    for index in range(100, 300):
        layer = index // 100
        assert len(set(graph.parents[index])) == 3
        assert {parent // 100 for parent in graph.parents[index]} == {layer - 1}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_document_says_what_the_task_group_says(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name](200)
    group, read = workloads.task_group(graph), parsed(workloads.document(graph), tmp_path)
    assert [(task.name, task.type, task.depends_on) for task in read.tasks] == [
        (task.name, task.type, task.depends_on) for task in group.tasks
    ]
    assert read.inputs == group.inputs
    assert {item.name for item in read.inputs} == workloads.secret_values().keys()
    assert len(set(workloads.secret_values().values())) == workloads.SECRETS


def test_every_task_of_the_templated_document_has_a_template_of_its_own(tmp_path: Path) -> None:
    group = parsed(workloads.templated_document(30), tmp_path)
    assert len(group.tasks) == 30
    templates = {task.spec["envs"]["URL"] for task in group.tasks[1:]}
    assert len(templates) == 29
    assert all(text.startswith("{{") for text in templates)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_peers_run_every_task(name: str, tmp_path: Path, require: Require) -> None:
    require("make")
    graph = GRAPHS[name](200)
    for peer in installed():
        lines = peer.text(graph).replace(workloads.TRUE, "echo ran >> ran").encode()
        (tmp_path / peer.file_name).write_bytes(lines)
        (tmp_path / "ran").unlink(missing_ok=True)
        subprocess.run([peer.program, "-j2", "-f", peer.file_name], cwd=tmp_path, check=True, capture_output=True)
        assert (tmp_path / "ran").read_text().count("ran") == graph.count
