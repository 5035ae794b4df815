"""Where the names in an expression are looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from runner.errors import TemplateError
from runner.expressions.objects import PLAIN, UndefinedError, kind
from runner.expressions.work import LOOKED_UP_ITEM, Work
from runner.model.fault import nearest
from runner.model.value import Bindings, Value

Path = tuple[str, ...]

_NAMES_SHOWN = 12
_NAMES_SORTED = 1_000

_MOST_COMPARED = 5_000
"""Characters of a name times those of all that it may have been meant for: below a millisecond."""


class Lookup(Protocol):
    """What names mean. Looking up has no effects; what a path means does not change."""

    work: Work

    def resolve(self, path: Path) -> object:
        """The object at `path`; raises UndefinedError, which says what is there instead."""

    def is_confidential(self, path: Path) -> bool:
        """Whether something confidential lies at `path` or below; False for a path that leads nowhere."""


class Scope:
    """The bindings of one attempt: its imports by task, `inputs`, `group`, `task`, `env` and, of an instance, `matrix`.

    The group's `env` is rendered when it is named; its templates may name `inputs` and `group`. `work` is what its templates may
    cost.
    """

    def __init__(self, bindings: Bindings, work: Work | None = None) -> None:
        self.work = work or Work()
        self._bindings = bindings
        self._env: dict[str, Value] = {}
        self._tables: dict[str, Mapping[str, object]] = {
            **bindings.imports,
            "inputs": bindings.inputs,
            "group": {"id": bindings.group_id, "name": bindings.group_name},
            "task": {"name": bindings.task_name, "attempt": bindings.task_attempt},
        }
        if bindings.matrix:
            self._tables["matrix"] = bindings.matrix

    def resolve(self, path: Path) -> object:
        return _plain(self._find(path), self.work)

    def is_confidential(self, path: Path) -> bool:
        try:
            return _any_confidential(self._find(path), self.work)
        except UndefinedError:
            return False

    def env(self, name: str) -> Value:
        """A variable of the group's environment, rendered."""
        if name not in self._env:
            from runner.expressions.template import render  # a template needs a scope, and this scope a template

            try:
                self._env[name] = render(self._bindings.env[name], env_scope(self._bindings, self.work))
            except TemplateError as error:
                raise TemplateError(f"env.{name}: {error.message}", offset=error.offset) from error
        return self._env[name]

    def _find(self, path: Path) -> object:
        if path[0] != "env":
            return _walk(self._tables, path, beside=("env",))
        if len(path) > 1 and path[1] in self._bindings.env:
            return _walk({"env": {path[1]: self.env(path[1])}}, path)
        return _walk(
            {"env": {name: self.env(name) for name in self._bindings.env} if len(path) == 1 else self._bindings.env},
            path,
        )


def env_scope(bindings: Bindings, work: Work | None = None) -> DataScope:
    """What the templates in the group's environment may name."""
    tables = {"inputs": bindings.inputs, "group": {"id": bindings.group_id, "name": bindings.group_name}}
    return DataScope(tables, work=work)


class DataScope:
    """Free nested data: mappings, lists, plain values, and `Value`s that know whether they are confidential.

    `is_secret` tells of a plain text in `data` whether it is confidential.
    """

    def __init__(
        self,
        data: Mapping[str, object],
        is_secret: Callable[[str], bool] | None = None,
        *,
        work: Work | None = None,
    ) -> None:
        self.work = work or Work()
        self._data = data
        self._is_secret = is_secret

    def resolve(self, path: Path) -> object:
        return _plain(_walk(self._data, path), self.work)

    def is_confidential(self, path: Path) -> bool:
        try:
            return _any_confidential(_walk(self._data, path), self.work, self._is_secret)
        except UndefinedError:
            return False


def member(here: object, key: str | int, *, where: str = "the value", beside: Sequence[str] = ()) -> object:
    """What `here` holds under `key`; raises UndefinedError. `where` is how the error calls `here`, `beside` what else it
    holds."""
    if isinstance(key, int):
        if isinstance(here, list | tuple):
            if -len(here) <= key < len(here):
                return here[key]
            raise UndefinedError(lambda: f"{where} has no item [{key}]: it has {len(here)}")
        raise UndefinedError(lambda: f"{where} is {_kind(here)} and has no items")
    if isinstance(here, Mapping):
        if key in here:
            return here[key]
        raise UndefinedError(lambda: _unknown(key, [str(name) for name in (*here, *beside)], where))
    raise UndefinedError(lambda: f"{where} is {_kind(here)} and has no {key!r}")


def _walk(tables: Mapping[str, object], path: Path, beside: Sequence[str] = ()) -> object:
    here = member(tables, path[0], where="", beside=beside)
    for depth in range(1, len(path)):
        here = member(here, path[depth], where=".".join(path[:depth]))
    return here


def _unknown(name: str, known: list[str], where: str) -> str:
    start = f"{where} has no {name!r}" if where else f"nothing is called {name!r} here"
    near = nearest(name, known) if len(name) * sum(map(len, known)) <= _MOST_COMPARED else None
    shown = ", ".join(sorted(known[:_NAMES_SORTED])[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
    return start + (f" ({near})" if near else "") + (f"; there is: {shown}" if known else "; it is empty")


def _kind(value: object) -> str:
    return "a text" if isinstance(value, Value) else kind(value)


def _plain(value: object, work: Work) -> object:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Value):
        return value.text
    if isinstance(value, Mapping):
        work.pay(LOOKED_UP_ITEM * len(value))
        return {key: _plain(item, work) for key, item in value.items()}
    if isinstance(value, list | tuple):
        work.pay(LOOKED_UP_ITEM * len(value))
        return [_plain(item, work) for item in value]
    return value


def _any_confidential(value: object, work: Work, is_secret: Callable[[str], bool] | None = None) -> bool:
    return any(
        leaf.confidential
        if isinstance(leaf, Value)
        else is_secret is not None and isinstance(leaf, str) and is_secret(leaf)
        for leaf in _leaves(value, work)
    )


def _leaves(value: object, work: Work) -> Iterator[object]:
    if isinstance(value, PLAIN):
        yield value
    elif isinstance(value, Mapping):
        work.pay(LOOKED_UP_ITEM * len(value))
        for item in value.values():
            yield from _leaves(item, work)
    elif isinstance(value, list | tuple):
        work.pay(LOOKED_UP_ITEM * len(value))
        for item in value:
            yield from _leaves(item, work)
    else:
        yield value
