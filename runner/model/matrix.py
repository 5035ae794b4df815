"""The matrix of a task: which combinations of values it means, what the task of each is called, and the tasks that it stands for.

A task `test` with a matrix becomes its instances `test[a,3.11]`, …, and one task `test` that joins them, so that who depends on `test` or imports
from it does so as with any other.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from runner.model.fault import Faults, Path
from runner.model.task import JOIN_TYPE, Cell, Export, Task, When

Values = Mapping[str, str]

ROOT = "matrix"
"""Where templates find the values of an instance, so that no task is called so."""

LONGEST_PART_CHARS = 40
LONGEST_LABEL_CHARS = 120
"""Of what stands between the brackets of an instance's name, without the mark."""
_MARK_DIGITS = (12, 64)
"""The second where the first is not enough."""
_UNUSUAL = re.compile(r"[^A-Za-z0-9._+:@-]+")
_INSTANCE = re.compile(r"\[[A-Za-z0-9._+:@,~-]{1,200}\]")


class Matrix(Struct, frozen=True, kw_only=True):
    """As the document says it. What is excluded, and what is included, comes with its number in the document's list."""

    axes: Mapping[str, tuple[str, ...]]
    include: tuple[tuple[int, Values], ...] = ()
    exclude: tuple[tuple[int, Values], ...] = ()
    max_parallel: int | None = None
    fail_fast: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What the templates of its task can read."""
        return tuple(dict.fromkeys((*self.axes, *(name for _, entry in self.include for name in entry))))


def is_instance_name(text: str) -> bool:
    """Whether this can be what stands in the name of an instance behind that of its task."""
    return _INSTANCE.fullmatch(text) is not None


def combinations(faults: Faults, path: Path, matrix: Matrix, left: int, limit: int) -> list[dict[str, str]]:
    """The values of each instance, in order. Adds what is wrong with them to `faults`; the matrix is at `path`. Of the `limit` of a group's tasks
    so many are `left`."""
    size = math.prod(map(len, matrix.axes.values())) if matrix.axes else 0
    found: list[dict[str, str]] = []
    if size <= left:
        whole = [dict(zip(matrix.axes, values, strict=True)) for values in product(*matrix.axes.values())]
        found = _extended(faults, path, matrix, _kept(faults, path, matrix, whole if matrix.axes else []))
    if max(size, len(found)) > left:
        message = f"its {max(size, len(found)):,} combinations make more than {limit:,} tasks of the group, which is the limit"
        faults.add(path, message)
        return []
    if not found and size:
        faults.add((*path, "exclude"), "leaves nothing of the matrix")
    return found


def _kept(faults: Faults, path: Path, matrix: Matrix, whole: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those that nothing excludes: who names some of the values takes away all that have them."""
    for number, excluded in matrix.exclude:
        if not excluded or not excluded.keys() <= matrix.axes.keys():
            continue  # which is told by itself
        left = [values for values in whole if not _has(values, excluded)]
        if len(left) == len(whole):
            faults.add((*path, "exclude", number), "no combination is like this, so it excludes none", warning=True)
        whole = left
    return whole


def _extended(faults: Faults, path: Path, matrix: Matrix, whole: list[dict[str, str]]) -> list[dict[str, str]]:
    """With what is included: it adds to all combinations of the axes that it does not contradict, and is one of its own where there is
    none."""
    extended = [dict(values) for values in whole]
    own: dict[str, int] = {}
    added: list[dict[str, str]] = []
    # By the values that an entry names: each entry looks only at those combinations that it can be about.
    indices: dict[tuple[str, ...], dict[tuple[str, ...], list[int]]] = {}
    for number, entry in matrix.include:
        names = tuple(name for name in matrix.axes if name in entry)
        if names not in indices:
            table: dict[tuple[str, ...], list[int]] = {}
            for index, values in enumerate(whole):
                table.setdefault(tuple(values[name] for name in names), []).append(index)
            indices[names] = table
        met = indices[names].get(tuple(entry[name] for name in names), ())
        for index in met:
            extended[index].update(entry)
        if met or not entry:
            continue
        same = own.setdefault(json.dumps(entry, sort_keys=True), number)
        if same != number:
            faults.add((*path, "include", number), f"is the same as include[{same}]")
        else:
            added.append(dict(entry))
    return extended + added


def _has(values: Values, wanted: Values) -> bool:
    return all(values.get(name) == text for name, text in wanted.items())


def names(task: str, matrix: Matrix, cells: Sequence[Values]) -> list[str]:
    """What the instances are called: by their values, as far as these are short and of usual characters, and where they are not, or two would be
    called the same, with a mark that all of their values decide."""
    told = [_label(matrix, values) for values in cells]
    often = Counter(label for label, _ in told)
    for digits in _MARK_DIGITS:
        found = [
            f"{task}[{label}{'' if plain and often[label] == 1 else ',~' + _mark(values)[:digits]}]"
            for (label, plain), values in zip(told, cells, strict=True)
        ]
        if len(set(found)) == len(found):
            break
    return found


def _label(matrix: Matrix, values: Values) -> tuple[str, bool]:
    """A readable text of the values, those of the axes first, and whether it says all of them as they are."""
    order = [*(name for name in matrix.axes if name in values), *(name for name in values if name not in matrix.axes)]
    parts = [_UNUSUAL.sub("_", values[name])[:LONGEST_PART_CHARS] or "_" for name in order]
    label = ",".join(parts)
    return label[:LONGEST_LABEL_CHARS], label == ",".join(values[name] for name in order) and len(
        label
    ) <= LONGEST_LABEL_CHARS


def _mark(values: Values) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def expanded(task: Task, matrix: Matrix, cells: Sequence[Values]) -> Iterator[Task]:
    """The tasks that a task with a matrix stands for: its instances, then their join."""
    instances = names(task.name, matrix, cells)
    for name, values in zip(instances, cells, strict=True):
        # A name that an instance does not have is the empty text, so that what is included for one is no fault in the others.
        cell = Cell(
            of=task.name,
            values={known: values.get(known, "") for known in matrix.names},
            max_parallel=matrix.max_parallel,
            fail_fast=matrix.fail_fast,
        )
        yield replace(task, name=name, matrix=cell)
    yield Task(
        name=task.name,
        type=JOIN_TYPE,
        description=task.description,
        depends_on=tuple(instances),
        exports=tuple(Export(name=it.name, confidential=it.confidential, scope=it.scope) for it in task.exports),
        # So that it is still there when they run in a clean-up.
        when=When.ALWAYS if task.when is When.ALWAYS else When.SUCCESS,
        allow_failure=task.allow_failure,
        joins=True,
    )
