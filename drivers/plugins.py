"""Drivers out of Python packages that are installed beside the runner: entry points of the group `runner.drivers`, each called as its task
type. Which there are is looked up when a document names a type that is not built in, and only what it names is imported."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from drivers import claims

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from drivers.guarded import Guarded

_log = logging.getLogger(__name__)

GROUP = "runner.drivers"

LOAD_SECONDS = 20.0
"""How long importing a plugin may take."""


class Origin(Struct, frozen=True, kw_only=True):
    """Where a driver comes from that is not built in."""

    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


class Unusable(Struct, frozen=True, kw_only=True):
    """A plugin that gives no driver, and why. `origins` are more than one where several claim its type."""

    type: str
    origins: tuple[Origin, ...]
    reason: str

    def __str__(self) -> str:
        return f"plugin{'s' * (len(self.origins) > 1)} {' and '.join(map(str, self.origins))}: {self.reason}"


class Plugin(Struct, frozen=True, kw_only=True):
    """A driver that can be used."""

    driver: Guarded
    origin: Origin


Find = Callable[[], Iterable["EntryPoint"]]


def installed() -> Iterable[EntryPoint]:
    """Of all packages on the path; of two of one name the first counts, as for Python itself. One that is torn says nothing."""
    if not claims.may_name(GROUP):
        return
    from importlib.metadata import distributions

    known: set[str] = set()
    for distribution in distributions():
        try:
            entries = distribution.entry_points.select(group=GROUP)
            name = distribution.name.lower().replace("_", "-") if entries else ""
        except Exception as error:  # noqa: BLE001 - what is on a disk may be of any kind
            _log.debug("a package was passed over: %r", error, extra={"action": "package_passed_over"})
            continue
        if name not in known:
            known.add(name)
            yield from entries


class Plugins:
    """Of one runner. What was looked up or imported stays as it was found. May be used from any thread."""

    def __init__(self, find: Find = installed, seconds: float = LOAD_SECONDS) -> None:
        self._find = find
        self._seconds = seconds
        self._lock = threading.Lock()
        self._named: dict[str, list[EntryPoint]] | None = None
        self._loaded: dict[str, Plugin | Unusable] = {}

    @property
    def types(self) -> tuple[str, ...]:
        """What they claim, by name; nothing is imported for it."""
        return tuple(self._entries())

    @property
    def loaded(self) -> Sequence[Plugin | Unusable]:
        """Those that were asked for by now."""
        return tuple(self._loaded.values())

    def get(self, type: str) -> Plugin | Unusable | None:
        """The plugin for this type, imported if it was not."""
        found = self._loaded.get(type)
        if found is None and type in self._entries():
            with self._lock:
                found = self._loaded.get(type)
                if found is None:
                    found = self._loaded[type] = self._load(type, self._entries()[type])
        return found

    def refuse(self, type: str, reason: str) -> Unusable:
        """Let nobody have this type of them."""
        found = self._loaded[type] = Unusable(
            type=type, origins=tuple(map(_origin, self._entries()[type])), reason=reason
        )
        return found

    def _entries(self) -> dict[str, list[EntryPoint]]:
        named = self._named
        if named is None:
            named = {}
            for entry in sorted(self._find(), key=lambda entry: (entry.name, str(_origin(entry)), entry.value)):
                others = named.setdefault(entry.name, [])
                if (entry.value, _origin(entry)) not in [(other.value, _origin(other)) for other in others]:
                    others.append(entry)  # a folder may be on the path twice
            self._named = named
        return named

    def _load(self, type: str, entries: Sequence[EntryPoint]) -> Plugin | Unusable:
        unusable = partial(Unusable, type=type, origins=tuple(map(_origin, entries)))
        if len(entries) > 1:
            return unusable(reason=f"they both claim the task type {type!r}; uninstall one of them")
        entry = entries[0]
        given: list[Plugin | str] = []
        # In a thread of its own, which nobody has to wait for: it may wait for ever.
        work = threading.Thread(target=lambda: given.append(_made(entry)), name=f"plugin {type}", daemon=True)
        work.start()
        work.join(self._seconds)
        if not given:
            return unusable(reason=f"to import {entry.value} takes longer than {self._seconds:g} s")
        return unusable(reason=given[0]) if isinstance(given[0], str) else given[0]


def _made(entry: EntryPoint) -> Plugin | str:
    """The plugin, or why there is none."""
    from drivers import contract
    from drivers.guarded import Guarded
    from runner.model import wording

    try:
        driver = contract.made(_imported(entry), entry.name)
    except TypeError as error:
        if error.__traceback__ is not None and _is_ours(error):
            return str(error)
        return f"{wording.exception(error)}{_place(error)}"
    except BaseException as error:  # noqa: BLE001 - it may raise anything, SystemExit too
        return f"{wording.exception(error)}{_place(error)}"
    return Plugin(driver=Guarded(driver), origin=_origin(entry))


def _imported(entry: EntryPoint) -> Any:
    module, _, name = entry.value.partition("[")[0].strip().partition(":")
    found: Any = import_module(module.strip())
    for part in filter(None, name.strip().split(".")):
        found = getattr(found, part)
    return found


def _frames(error: BaseException) -> Sequence[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)


def _is_ours(error: BaseException) -> bool:
    """Whether it was raised by what looks at a driver, and not by its own code."""
    from drivers import contract

    frames = _frames(error)
    return bool(frames) and frames[-1].filename == contract.__file__


def _place(error: BaseException) -> str:
    """Where in the plugin it was raised, as well as that is known."""
    if isinstance(error, SyntaxError):
        return ""  # it says so
    from drivers import contract

    ours = (contract.__file__, __file__)
    theirs = [
        frame
        for frame in _frames(error)
        if frame.filename not in ours and not frame.filename.startswith("<") and "/importlib/" not in frame.filename
    ]
    return f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""


def _origin(entry: EntryPoint) -> Origin:
    try:
        assert entry.dist is not None
        return Origin(package=str(entry.dist.name), version=str(entry.dist.version))
    except Exception:  # noqa: BLE001 - what it says of itself may be torn
        return Origin(package=entry.value, version="?")
