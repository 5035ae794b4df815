"""Templates: that they parse, and name only what they can see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from runner import expressions
from runner.errors import TemplateError
from runner.model import foreign
from runner.model.fault import Faults, Path, quote
from runner.model.group import TaskGroup
from runner.model.matrix import ROOT
from runner.model.parse import Cells, Parsed
from runner.model.task import Export, Task
from runner.validation import outline
from runner.validation.outline import Names

GROUP_NAMES = ("id", "name")
TASK_NAMES = ("name", "attempt")


class Scopes:
    """The names that the templates of one group can see."""

    def __init__(self, faults: Faults, parsed: Parsed) -> None:
        group = parsed.group
        self._faults = faults
        self._parsed = parsed
        self._exports: dict[str, dict[str, Export]] = {}
        for task in group.tasks:
            self._exports.setdefault(task.name, {export.name: export for export in task.exports})
        self._shared: dict[str, Collection[str]] = {
            "inputs": frozenset(item.name for item in group.inputs),
            "group": GROUP_NAMES,
        }
        self._of_tasks: dict[str, Collection[str]] = {**self._shared, "env": group.env, "task": TASK_NAMES}
        self._confidential_inputs = {item.name for item in group.inputs if item.confidential}
        self._confidential_env = set(self._find_confidential_env(group))

        self._confidential = frozenset(
            [f"inputs.{name}" for name in self._confidential_inputs]
            + [f"env.{name}" for name in self._confidential_env]
        )

    def check(self) -> None:
        """Add every fault of the group's templates."""
        self._check_env()
        self._check_forward()
        self._check_concurrency()
        for index, task in enumerate(self._parsed.group.tasks):
            self._check_task((*self._parsed.tasks, index), task, self._parsed.matrices.get(index))

    def confidential(self, task: Task) -> frozenset[str]:
        """The confidential values that the task's templates may read, spelt e.g. `fetch.password`."""
        if not task.template:
            return frozenset()
        imported = [
            f"{item.task}.{item.variable}" for item in task.imports if self._is_confidential((item.task, item.variable))
        ]
        return self._confidential.union(imported) if imported else self._confidential

    def _check_env(self) -> None:
        for variable in self._parsed.env:
            if expressions.has_template(variable.text):
                text = _Text(variable.path, variable.text, variable.start)
                for name in self._names(text):
                    if name[0] in self._shared:
                        self._check_member(text, name, self._shared)
                    else:
                        self._refuse(text, name, "the group's env can name only inputs and group")

    def _check_forward(self) -> None:
        forward = self._parsed.group.forward
        if forward is not None and forward.to is not None and expressions.has_template(forward.to):
            text = _Text(("forward", "to"), forward.to)
            self._check_public(text, "where a group runs is seen by everyone")
            for name in self._names(text):
                if name[0] in self._shared:
                    self._check_member(text, name, self._shared)
                else:
                    self._refuse(text, name, "where a group runs can depend only on inputs and group")

    def _check_concurrency(self) -> None:
        concurrency = self._parsed.group.concurrency
        if concurrency is None or not expressions.has_template(concurrency.key):
            return
        text = _Text(self._parsed.key, concurrency.key)
        self._check_public(text, "a concurrency key is seen by everyone who sees the group")
        labels = self._parsed.group.labels
        for name in self._names(text):
            if name[0] == "inputs":
                self._check_member(text, name, self._shared)
            elif name[0] != "labels":
                self._refuse(text, name, "a concurrency key can name only inputs and labels")
            elif len(name) != 2:
                self._refuse(text, name, "a label is text, named as labels.NAME")
            elif name[1] not in labels:
                message = f"{_spelt(name)}: the document does not have this label, so each submission has to give it"
                offset = text.names().get(name, 0)
                self._faults.add(text.path, message, hint=f"with --label {name[1]}=…", offset=offset, warning=True)

    def _check_task(self, path: Path, task: Task, cells: Cells | None) -> None:
        if not task.template:
            if isinstance(task.condition, str):
                hint = "this task says template: false, so that its condition can only be true or false"
                self._faults.add((*path, "if"), "expected true or false", hint=hint)
            return  # and what `forward` says is a runner's name as it stands
        texts: list[_Text] = []
        _collect_templates((*path, "spec"), task.spec, texts)
        if isinstance(task.condition, str):
            texts.append(_Text((*path, "if"), task.condition))
            self._check_condition(texts[-1])
        if task.forward is not None and task.forward.to is not None and expressions.has_template(task.forward.to):
            texts.append(_Text((*path, "forward", "to"), task.forward.to))
            self._check_public(texts[-1], "where a task runs is seen by everyone")
        if not texts:
            return
        imported: dict[str, set[str]] = {}
        for item in task.imports:
            imported.setdefault(item.task, set()).add(item.variable)
        tables = {**imported, **self._of_tasks}
        if cells is not None:
            tables[ROOT] = cells.matrix.names
        for text in texts:
            for name in self._names(text):
                if name[0] in tables:
                    self._check_member(text, name, tables)
                else:
                    self._refuse_root(text, name, task, tables)

    def _names(self, text: _Text) -> Iterable[Names]:
        """What the templates of the text read; those that do not parse are reported."""
        try:
            return outline.read(text.text).names
        except TemplateError as error:
            malformed = text.malformed() or [(error.offset, error)]  # else it is the text as a whole that is refused
        for offset, wrong in malformed:
            message = f"the template is malformed: {wrong.message}"
            self._faults.add(text.path, message, offset=text.start + offset)
        return text.names()

    def _refuse(self, text: _Text, name: Names, message: str, hint: str | None = None) -> None:
        offset = text.start + text.names().get(name, 0)
        self._faults.add(text.path, f"{_spelt(name)}: {message}", hint=hint, offset=offset)

    def _check_member(self, text: _Text, name: Names, tables: Mapping[str, Collection[str]]) -> None:
        root, members = name[0], tables[name[0]]
        if len(name) == 1:
            return
        if name[1] in members:
            if len(name) > 2:
                self._refuse(text, name, f"{'.'.join(name[:2])} is text and has no {name[2]!r}")
            return
        if root in self._exports and root not in self._of_tasks:
            self._refuse_variable(text, name)
            return
        missing = {
            "inputs": f"the input {quote(name[1])} is not declared",
            "env": f"the group's env has no {quote(name[1])}",
        }
        hint = self._faults.nearest(name[1], members) or (
            f"there is {', '.join(sorted(members)[:12])}" if members else None
        )
        self._refuse(text, name, missing.get(root, f"{root} has no {quote(name[1])}"), hint)

    def _refuse_root(self, text: _Text, name: Names, task: Task, tables: Mapping[str, Collection[str]]) -> None:
        if name[0] == task.name:
            self._refuse(text, name, "a task cannot read its own exports")
        elif name[0] in self._exports and len(name) > 1:
            self._refuse_variable(text, name)
        else:
            known = [*tables, *self._exports] if len(self._exports) <= 1000 else list(tables)
            hint = foreign.root(name) or self._faults.nearest(name[0], known)
            self._refuse(text, name, f"nothing is called {quote(name[0])} here", hint)

    def _refuse_variable(self, text: _Text, name: Names) -> None:
        """A variable of another task that is not imported."""
        exports = self._exports[name[0]]
        if name[1] in exports:
            hint = f"add {{from: {name[0]}, variable: {name[1]}}} to the task's imports"
            self._refuse(text, name, "it is not imported", hint)
        else:
            near = self._faults.nearest(name[1], exports)
            self._refuse(text, name, f"the task {quote(name[0])} does not export {quote(name[1])}", near)

    def _check_condition(self, text: _Text) -> None:
        try:
            template = outline.read(text.text) if expressions.has_template(text.text) else None
        except TemplateError:
            return  # reported with all templates
        if template is None or not template.whole:
            self._faults.add(
                text.path,
                "expected true, false or one whole template",
                hint="such as \"{{ .build.changed == 'true' }}\"",
            )
            return
        self._check_public(text, "whether a task runs is seen by everyone")

    def _check_public(self, text: _Text, seen: str) -> None:
        """What of the text is `seen` by everyone must not depend on anything confidential."""
        try:
            names = outline.read(text.text).names
        except TemplateError:
            return  # reported with all templates
        for name in names:
            if self._is_confidential(name):
                self._refuse(text, name, f"it is confidential, and {seen}")

    def _is_confidential(self, name: Names) -> bool:
        """Whether the name stands for something confidential, or for a mapping that holds some."""
        if name[0] == "inputs":
            secret: Collection[str] = self._confidential_inputs
        elif name[0] == "env":
            secret = self._confidential_env
        else:
            exports = self._exports.get(name[0], {})
            if len(name) > 1:
                return name[1] in exports and exports[name[1]].confidential
            secret = [export.name for export in exports.values() if export.confidential]
        return name[1] in secret if len(name) > 1 else bool(secret)

    def _find_confidential_env(self, group: TaskGroup) -> Iterator[str]:
        for key, text in group.env.items():
            try:
                names = outline.read(text).names if expressions.has_template(text) else ()
            except TemplateError:
                continue
            if any(name[0] == "inputs" and self._is_confidential(name) for name in names):
                yield key


class _Text:
    """A text with templates. `start` is where in the text at `path` it begins."""

    __slots__ = ("_names", "path", "start", "text")

    def __init__(self, path: Path, text: str, start: int = 0) -> None:
        self.path = path
        self.text = text
        self.start = start
        self._names: dict[Names, int] | None = None

    def names(self) -> Mapping[Names, int]:
        """What its templates read, each with the offset of the first that does. Asked for only where something is wrong."""
        if self._names is None:
            self._names = {}
            for offset, found in outline.each(self.text):
                for name in found if isinstance(found, tuple) else ():
                    self._names.setdefault(name, offset)
        return self._names

    def malformed(self) -> list[tuple[int, TemplateError]]:
        """The templates that do not parse, each with the offset of what is wrong."""
        return [(offset, found) for offset, found in outline.each(self.text) if isinstance(found, TemplateError)]


def _collect_templates(path: Path, value: Any, found: list[_Text]) -> None:
    """Every text in `value` that has a template, with its path. Keys are no templates."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, str):
            if "{{" in item:
                found.append(_Text((*path, key), item))
        elif isinstance(item, dict | list):
            _collect_templates((*path, key), item, found)


def _spelt(name: Names) -> str:
    return f"`{'.'.join(map(str, name))}`"
