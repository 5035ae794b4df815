"""What is run: graphs of tasks that do nothing, and how each contestant wants them written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.model.group import Input, TaskGroup
from runner.model.task import Task

TRUE = "/bin/true"
SECRETS = 10
LAYER_WIDTH = 100
PARENTS_PER_TASK = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`parents[i]` are the tasks that task `i` depends on; every one of them is declared before it."""

    name: str
    parents: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        return len(self.parents)


def one() -> Workload:
    return Workload(name="one", parents=((),))


def indep(count: int) -> Workload:
    return Workload(name="indep", parents=((),) * count)


def chain(count: int) -> Workload:
    return Workload(name="chain", parents=tuple((i - 1,) if i else () for i in range(count)))


def dag(layers: int, width: int = LAYER_WIDTH) -> Workload:
    """Every task but those of the first layer depends on three of the layer before, spread over its width."""
    strides = [part * width // PARENTS_PER_TASK for part in range(PARENTS_PER_TASK)]
    parents: list[tuple[int, ...]] = [()] * width
    for layer in range(1, layers):
        before = (layer - 1) * width
        parents += [
            tuple(sorted({before + (column + stride) % width for stride in strides})) for column in range(width)
        ]
    return Workload(name="dag", parents=tuple(parents))


def task_name(index: int) -> str:
    return f"task-{index:06}"


def secret_values() -> dict[str, str]:
    """The inputs that `document` and `task_group` declare: confidential, 32 characters each."""
    return {f"secret_{number}": f"confidential-{number:02}-" + "0f1e2d3c4b5a69788" for number in range(SECRETS)}


def document(workload: Workload, *, shell: bool = False, to: str = "", whole_to: str = "") -> str:
    """The group as YAML. With `shell` every command is a string, so that `sh` runs it; else it is an argv. Its tasks are forwarded
    to the runner `to`, or the group as a whole to `whole_to`, if one is named."""
    command = TRUE if shell else f"[{TRUE}]"
    lines = [f"name: {workload.name}", "inputs:"]
    lines += [f"  {name}: {{required: true, confidential: true}}" for name in secret_values()]
    if whole_to:
        lines.append(f"forward: {{to: {whole_to}}}")
    lines.append("taskGroup:")
    for index, parents in enumerate(workload.parents):
        lines += [f"- name: {task_name(index)}", "  type: os_exec", f"  spec: {{command: {command}}}"]
        if to:
            lines.append(f"  forward: {{to: {to}}}")
        if parents:
            lines.append(f"  depends_on: [{', '.join(map(task_name, parents))}]")
    return "\n".join(lines) + "\n"


def task_group(workload: Workload) -> TaskGroup:
    """The group as `document` describes it, without the way through text."""
    tasks = (
        Task(
            name=task_name(index),
            type="os_exec",
            spec={"command": [TRUE]},
            depends_on=tuple(map(task_name, parents)),
        )
        for index, parents in enumerate(workload.parents)
    )
    inputs = tuple(Input(name=name, required=True, confidential=True) for name in secret_values())
    return TaskGroup(name=workload.name, inputs=inputs, tasks=tuple(tasks))


def makefile(workload: Workload) -> str:
    lines = [f"all: {' '.join(_names(workload))}", f".PHONY: all {' '.join(_names(workload))}"]
    for index, parents in enumerate(workload.parents):
        lines += [f"{task_name(index)}: {' '.join(map(task_name, parents))}".rstrip(), f"\t@{TRUE}"]
    return "\n".join(lines) + "\n"


def ninja_file(workload: Workload) -> str:
    """Its outputs are never made, so that every run runs all."""
    lines = ["rule run", f"  command = {TRUE}"]
    lines += [
        f"build {task_name(index)}: run {' '.join(map(task_name, parents))}".rstrip()
        for index, parents in enumerate(workload.parents)
    ]
    return "\n".join(lines) + "\n"


def templated_document(count: int) -> str:
    """A group of `count` tasks, each with a template that no other one has: what the task before it exports."""
    lines = ["name: load", "taskGroup:"]
    for index in range(count):
        before = task_name(index - 1)
        lines += [
            f"- name: {task_name(index)}",
            "  type: os_exec",
            *([f"  imports: [{{from: {before}, variable: url}}]"] if index else []),
            "  spec:",
            "    command: [/usr/bin/env, build, --all]",
            *([f'    envs: {{URL: "{{{{ .{before}.url }}}}", MODE: release}}'] if index else []),
            "  exports: [{name: url}]",
            "  timeout: 10m",
        ]
    return "\n".join(lines) + "\n"


def _names(workload: Workload) -> Iterator[str]:
    return map(task_name, range(workload.count))


GRAPHS: dict[str, Callable[[int], Workload]] = {
    "one": lambda count: one(),
    "indep": indep,
    "chain": chain,
    "dag": lambda count: dag(max(1, count // LAYER_WIDTH)),
}
"""The workloads by name; the argument is the number of tasks that is wanted, rounded to what the graph can be."""
