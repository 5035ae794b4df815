"""The value of every key, and where it comes from: an option wins over the environment, that over the file, that over the default."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from runner.config.keys import CONFIG_VARIABLE, PREFIX, STATE_DIR, Computed, Key
from runner.errors import ConfigurationError, UsageError
from runner.model import fields
from runner.model.fault import Fault, Faults
from runner.model.fault import Path as Place

FILE_NAME = "runner.toml"
SYSTEM_FILE = Path("/etc/runner", FILE_NAME)
LARGEST_FILE_BYTES = 1 << 20
MAX_FAULTS = 1000

_LIKE = 0.75
"""How like the name of a key a variable must be to be taken for a slip of the pen."""

_MALFORMED_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
"""The message of a TOMLDecodeError, which has its place nowhere else before Python 3.14."""


class Origin(StrEnum):
    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


class Source(Struct, frozen=True, kw_only=True):
    """Where a value comes from. `name` is that of the file, the variable or the option; `line` is of a file alone."""

    origin: Origin
    name: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.origin is Origin.DEFAULT:
            return "default"
        return f"{self.name}:{self.line}" if self.line else self.name


class Value(Struct, frozen=True, kw_only=True):
    value: Any
    source: Source


class Layers(Struct, frozen=True, kw_only=True):
    """What is read. `options` holds the texts of options by the name of their key: all of a list, the last of another one
    count. `file` is None where there is none."""

    environ: Mapping[str, str]
    options: Mapping[str, Sequence[str]] = {}
    file: Path | None = None


class Reading(Struct, kw_only=True):
    """All values by the names of their keys, and what is wrong, or worth a look, with what was read. `refused` are the names of
    keys of which some value was wrong."""

    values: dict[str, Value] = {}
    faults: list[Fault] = []
    refused: set[str] = set()
    places: Mapping[tuple[Any, ...], tuple[int, int]] = {}
    """Where what stands in the file is, by its path: line and column."""

    def refuse(self, name: str, message: str, hint: str | None = None) -> None:
        """Add a fault of a key that is not at its default."""
        source = self.values[name].source
        path = tuple(name.split(".")) if source.origin is Origin.FILE else ()
        fault = Fault(path=path, message=message, hint=hint, source=source.name, line=source.line, column=source.column)
        self.faults.append(fault)

    def warn(self, name: str, within: Place, message: str) -> None:
        """Warn of what is `within` a key that is not at its default."""
        source = self.values[name].source
        whole = (*name.split("."), *within)
        is_in_file = source.origin is Origin.FILE
        line, column = self.places.get(whole, (source.line, source.column)) if is_in_file else (0, 0)
        path = whole if is_in_file else within
        fault = Fault(path=path, message=message, source=source.name, line=line, column=column, warning=True)
        self.faults.append(fault)

    def finish(self) -> tuple[Fault, ...]:
        """The warnings. Raises ConfigurationError with every fault."""
        if errors := tuple(fault for fault in self.faults if not fault.warning):
            raise ConfigurationError(errors)
        return tuple(self.faults)


def find_file(given: Path | None, environ: Mapping[str, str], state_dir: Path | None) -> Path | None:
    """The one file that is read, absolute; None where there is none. One that is named has to be there: that is found out when
    it is read."""
    named = given or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        return named.absolute()
    candidates = [] if state_dir is None else [state_dir / FILE_NAME]
    return next((path.absolute() for path in (*candidates, SYSTEM_FILE) if os.path.lexists(path)), None)


def state_dir_of(layers: Layers) -> Path | None:
    """The state directory that is known before any file is read; None where there is none."""
    known = read((STATE_DIR,), replace(layers, file=None)).values.get(STATE_DIR.name)
    return None if known is None else Path(known.value)


def read(keys: Sequence[Key], layers: Layers) -> Reading:
    """The values of these keys; where there are faults, some are missing or not what was meant. Raises UsageError where the
    file cannot be read."""
    reading = Reading()
    if layers.file is not None:
        _read_file(reading, keys, layers.file)
    for key in keys:
        if text := layers.environ.get(key.variable):
            _take(reading, key, Source(origin=Origin.ENVIRONMENT, name=key.variable), text)
        if texts := layers.options.get(key.name):
            text = ",".join(texts) if key.kind.is_list else texts[-1]
            _take(reading, key, Source(origin=Origin.OPTION, name=key.flag), text)
        if key.name not in reading.values:
            try:
                default = key.default.of(layers.environ) if isinstance(key.default, Computed) else key.default
            except UsageError as error:
                reading.faults.append(Fault(path=(), message=error.message, source=key.variable))
            else:
                reading.values[key.name] = Value(value=default, source=Source(origin=Origin.DEFAULT))
    return reading


def slips(keys: Sequence[Key], environ: Mapping[str, str]) -> list[Fault]:
    """Warnings of variables whose names are nearly, but not quite, those of keys."""
    known = {key.variable.removeprefix(PREFIX): key.variable for key in keys}
    found = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known and name != CONFIG_VARIABLE:
            import difflib

            for like in difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1, cutoff=_LIKE):
                hint = f"did you mean {known[like]!r}?"
                found.append(Fault(path=(), message="is not known", hint=hint, source=name, warning=True))
    return found


def _take(reading: Reading, key: Key, source: Source, text: str) -> None:
    """The value that a variable or an option gives."""
    faults = Faults(MAX_FAULTS)
    try:
        value = key.kind.read(faults, (), key.kind.taken(text))
    except ValueError as error:
        faults.add((), str(error))
        value = None
    reading.faults += [replace(fault, source=source.name) for fault in faults.all()]
    if faults:
        reading.refused.add(key.name)
    else:
        reading.values[key.name] = Value(value=_placed(key, value, Path.cwd()), source=source)


def _placed(key: Key, value: Any, folder: Path) -> Any:
    return value if key.kind.placed is None else key.kind.placed(value, folder)


def _read_file(reading: Reading, keys: Sequence[Key], file: Path) -> None:
    text = _text(reading, file)
    if text is None:
        return
    data = _parsed(reading, file, text)
    if not data:
        return
    tables = _Tables(keys)
    tables.read((), data, _tree(keys))

    from runner.config.places import place, places

    known = reading.places = places(text)
    for fault in tables.faults.all():
        line, column = place(fault.path, known)
        reading.faults.append(replace(fault, source=str(file), line=line, column=column))
    reading.faults.sort(key=lambda fault: (fault.line, fault.column))
    for key, value in tables.found:
        if any(fault.path[: len(key.path)] == key.path for fault in tables.faults.all()):
            reading.refused.add(key.name)
            continue
        line, column = place(key.path, known)
        source = Source(origin=Origin.FILE, name=str(file), line=line, column=column)
        reading.values[key.name] = Value(value=_placed(key, value, file.parent), source=source)


def _text(reading: Reading, file: Path) -> str | None:
    """What stands in the file. None, with a fault, where it is no text that could be a configuration."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(LARGEST_FILE_BYTES + 1)
            mode = os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise UsageError(f"cannot read the configuration {file}: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        message = "everybody on this machine can write to this file, and so decide what this node does"
        reading.faults.append(Fault(path=(), message=message, hint=f"chmod o-w {file}", source=str(file), warning=True))
    if len(data) > LARGEST_FILE_BYTES:
        message = f"the file has more than {LARGEST_FILE_BYTES:,} bytes, which is the limit"
    else:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"the file is not UTF-8: byte {error.start + 1} is 0x{data[error.start]:02x}"
    reading.faults.append(Fault(path=(), message=message, source=str(file)))
    return None


def _parsed(reading: Reading, file: Path, text: str) -> dict[str, Any]:
    """Empty, with a fault, where the text is no TOML."""
    import tomllib  # takes 10 ms, and only a node has a file

    try:
        return tomllib.loads(text)
    except RecursionError:
        message, line, column = "this is nested too deeply", 0, 0
    except ValueError as error:
        message, line, column = str(error), 0, 0
        if match := _MALFORMED_AT.fullmatch(message):
            last = text.count("\n") + 1, len(text) - text.rfind("\n")
            message, (line, column) = match[1], (int(match[2]), int(match[3])) if match[2] else last
    message = f"this is no TOML: {message[:1].lower()}{message[1:]}"
    reading.faults.append(Fault(path=(), message=message, source=str(file), line=line, column=column))
    return {}


def _tree(keys: Sequence[Key]) -> dict[str, Any]:
    """Keys by their names, and by those of the tables that they stand in."""
    tree: dict[str, Any] = {}
    for key in keys:
        table = tree
        for name in key.path[:-1]:
            table = table.setdefault(name, {})
        table[key.path[-1]] = key
    return tree


class _Tables:
    """Reads the tables of one file."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.faults = Faults(MAX_FAULTS)
        self.found: list[tuple[Key, Any]] = []
        self._homes = {key.path[-1]: key.name for key in reversed(keys)}

    def read(self, path: Place, table: Mapping[str, Any], tree: Mapping[str, Any]) -> None:
        for name, item in table.items():
            here = (*path, name)
            known = tree.get(name)
            if known is None:
                self.faults.add(here, "unknown key", hint=self._meant(name, tree), about_key=True)
            elif isinstance(known, Key):
                self.found.append((known, known.kind.read(self.faults, here, item)))
            elif isinstance(item, dict):
                self.read(here, item, known)
            else:
                fields.expected(self.faults, here, f"a mapping ([{name}])", item)

    def _meant(self, name: str, tree: Mapping[str, Any]) -> str:
        if name in self._homes:
            return f"did you mean {self._homes[name]!r}?"
        return self.faults.nearest(name, tree) or f"known are {', '.join(tree)}"
