"""What tasks say of each other: names, dependencies, imports, and that nothing waits for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.model.cycle import cycles
from runner.model.fault import Faults, Path, quote
from runner.model.scalars import as_text
from runner.model.task import Task

MOST_SHOWN = 20
"""Names in one message."""


def check(faults: Faults, path: Path, tasks: Sequence[Task], raw: Sequence[Any]) -> None:
    """`raw` is the list at `path` that `tasks` were read from."""
    references = _References(faults, path, tasks, raw)
    references.check_names()
    references.check_edges()
    references.check_cycles()


class _References:
    def __init__(self, faults: Faults, path: Path, tasks: Sequence[Task], raw: Sequence[Any]) -> None:
        self._faults = faults
        self._path = path
        self._tasks = tasks
        self._raw = raw
        self._by_name: dict[str, int] = {}
        self._refused_names: set[str | None] = set()
        self._exported: dict[int, frozenset[str]] = {}
        self._places: dict[int, dict[tuple[str, ...], Path]] = {}

    def check_names(self) -> None:
        for index, task in enumerate(self._tasks):
            if not task.name:
                item = self._raw[index]
                self._refused_names.add(as_text(item.get("name")) if isinstance(item, dict) else None)
            elif task.name in self._by_name:
                taken = f"the name {quote(task.name)} is taken by {self._path[0]}[{self._by_name[task.name]}]"
                self._faults.add((*self._path, index, "name"), taken)
            else:
                self._by_name[task.name] = index

    def check_edges(self) -> None:
        by_name = self._by_name
        for index, task in enumerate(self._tasks):
            for name in task.depends_on:
                if name not in by_name or name == task.name:
                    self._refuse_task(index, name, ("depends_on", name))
            for item in task.imports:
                source = by_name.get(item.task)
                if source is None or item.task == task.name:
                    self._refuse_task(index, item.task, ("from", item.task, item.variable))
                elif item.variable not in self._exports(source):
                    self._refuse_variable(index, source, item.variable)

    def check_cycles(self) -> None:
        by_name = self._by_name
        edges = [
            [by_name[name] for name in task.edges if name in by_name and name != task.name] for task in self._tasks
        ]
        for cycle in cycles(edges):
            names = [self._tasks[index].name for index in (*cycle, cycle[0])]
            message = f"these tasks wait for each other: {' → '.join(_shortened(names))}"
            places = self._places_of(cycle[0])
            place = places.get(("depends_on", names[1])) or places.get(("from", names[1])) or self._path
            self._faults.add(place, message)

    def _exports(self, index: int) -> frozenset[str]:
        if index not in self._exported:
            self._exported[index] = frozenset(export.name for export in self._tasks[index].exports)
        return self._exported[index]

    def _refuse_task(self, index: int, name: str, where: tuple[str, ...]) -> None:
        if not name or name in self._refused_names:
            return
        place = self._places_of(index).get(where, (*self._path, index))
        if name == self._tasks[index].name:
            self._faults.add(place, "a task cannot wait for itself")
        else:
            hint = self._faults.nearest(name, self._by_name)
            self._faults.add(place, f"there is no task {quote(name)}", hint=hint)

    def _refuse_variable(self, index: int, source: int, variable: str) -> None:
        if not variable:
            return
        task = self._tasks[source].name
        names = [export.name for export in self._tasks[source].exports]
        self._faults.add(
            self._places_of(index).get(("variable", task, variable), (*self._path, index)),
            f"the task {quote(task)} does not export {quote(variable)}: "
            + (f"it exports {', '.join(_shortened(names))}" if names else "it exports nothing"),
            hint=self._faults.nearest(variable, names),
        )

    def _places_of(self, index: int) -> dict[tuple[str, ...], Path]:
        """Where a task names others: by (depends_on, task), (from, task) for the first import from it, (from, task, variable),
        (variable, task, variable)."""
        if index not in self._places:
            self._places[index] = self._find_places(index)
        return self._places[index]

    def _find_places(self, index: int) -> dict[tuple[str, ...], Path]:
        places: dict[tuple[str, ...], Path] = {}
        written = self._raw[index].get("depends_on")
        path: Path = (*self._path, index, "depends_on")
        if isinstance(written, list):
            for at, item in enumerate(written):
                places.setdefault(("depends_on", _word(item)), (*path, at))
        else:
            places["depends_on", _word(written)] = path
        path = (*self._path, index, "imports")
        imports = self._raw[index].get("imports")
        for at, item in enumerate(imports if isinstance(imports, list) else ()):
            if isinstance(item, dict):
                task_key = "from" if "from" in item else "task_name"
                variable_key = "variable" if "variable" in item else "name"
                task, variable = _word(item.get(task_key)), _word(item.get(variable_key))
                places.setdefault(("from", task), (*path, at, task_key))
                places.setdefault(("from", task, variable), (*path, at, task_key))
                places.setdefault(("variable", task, variable), (*path, at, variable_key))
        return places


def _word(written: Any) -> str:
    """As `fields.word` reads it."""
    return (as_text(written) or "").rstrip(",")


def _shortened(names: list[str]) -> list[str]:
    if len(names) <= MOST_SHOWN:
        return names
    half = MOST_SHOWN // 2
    return [*names[:half], f"… {len(names) - MOST_SHOWN} more …", *names[-half:]]
