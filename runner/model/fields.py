"""Reading one value of a document: the value as its type, or a fault and something to go on with.

Every reader takes the faults so far, the value's path and the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from runner.model import duration, foreign
from runner.model.fault import Faults, Path, quote
from runner.model.scalars import Plain, as_text

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Reader = Callable[[Faults, Path, Any], Any]
Readers = Mapping[str, tuple[str, Reader]]
"""By key of the document: the attribute that it sets, and how it is read."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
NAME_EXPECTED = "expected a letter or _, then at most 127 letters, digits, _ or -"
RESERVED_NAMES = frozenset({"group", "task", "inputs", "env"})

LONGEST_LINE = 256

SAID_ALREADY = "another key has said this already; keep one of them"

_YAML_1_1_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def found(value: Any) -> str:
    """What stands there, in words."""
    if isinstance(value, Plain):
        value = value.resolve()
    if value is None:
        return "nothing"
    for kind, name in (
        (bool, "a boolean"),
        (int | float, "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "a mapping"),
    ):
        if isinstance(value, kind):
            return name
    return type(value).__name__


def expected(faults: Faults, path: Path, what: str, value: Any, hint: str | None = None) -> None:
    faults.add(path, f"expected {what}, found {found(value)}", hint=hint)


def text(faults: Faults, path: Path, value: Any) -> str:
    """The source text of any scalar."""
    read = as_text(value)
    if read is None:
        expected(faults, path, "text", value, 'write "" for an empty text' if value is None else None)
    return read or ""


def one_line(faults: Faults, path: Path, value: Any) -> str:
    read = text(faults, path, value)
    if len(read) > LONGEST_LINE or not read.isprintable():
        faults.add(path, f"expected one line of at most {LONGEST_LINE} printable characters")
    return read


def word(faults: Faults, path: Path, value: Any) -> str:
    """A text that is a name of something. A comma at its end is reported and taken off."""
    read = as_text(value)
    if read is None:
        expected(faults, path, "text", value)
        return ""
    if read.endswith(",") and len(read) > 1:
        mended = read.rstrip(",")
        faults.add(path, f"{quote(read)} ends in a comma", hint=f"write {mended}: only [ ] and {{ }} have commas")
        return mended
    return read


def reference(faults: Faults, path: Path, value: Any) -> str:
    """The name of something that there has to be."""
    read = word(faults, path, value)
    if not read and as_text(value) is not None:
        faults.add(path, "expected a name, found an empty text")
    return read


def name(faults: Faults, path: Path, value: Any) -> str:
    """The name of a new task, variable or input; empty where it cannot be one."""
    read = word(faults, path, value)
    if as_text(value) is None:
        return ""
    if not NAME.fullmatch(read):
        faults.add(path, f"{quote(read)} is not a name: {NAME_EXPECTED}")
        return ""
    if read in RESERVED_NAMES:
        faults.add(
            path, f"the name {quote(read)} is reserved", hint=f"reserved are {', '.join(sorted(RESERVED_NAMES))}"
        )
        return ""
    return read


def flag(faults: Faults, path: Path, value: Any) -> bool:
    read = value.resolve() if isinstance(value, Plain) else value
    if isinstance(read, bool):
        return read
    meant = _YAML_1_1_BOOLEANS.get(value.lower(), value.lower()) if isinstance(value, str) else None
    hint = f"write {meant}, without quotes" if meant in {"true", "false"} else None
    expected(faults, path, "true or false", value, hint)
    return False


def whole_number(least: int, most: int) -> Reader:
    def read(faults: Faults, path: Path, value: Any) -> int:
        number = value.resolve() if isinstance(value, Plain) else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            what = f"a whole number from {least} to {most}"
            if isinstance(number, int | float) and not isinstance(number, bool):
                faults.add(path, f"expected {what}")
            else:
                expected(faults, path, what, value)
            return least
        return number

    return read


def number(least: float, most: float) -> Reader:
    def read(faults: Faults, path: Path, value: Any) -> float:
        number = value.resolve() if isinstance(value, Plain) else value
        what = f"a number from {least:g} to {most:g}"
        if isinstance(number, bool) or not isinstance(number, int | float):
            expected(faults, path, what, value)
            return least
        if not least <= number <= most:
            faults.add(path, f"expected {what}")
            return least
        return float(number)

    return read


def seconds(faults: Faults, path: Path, value: Any) -> float:
    """A duration; zero is allowed."""
    read = as_text(value)
    if read is None or isinstance(value, bool):
        expected(faults, path, duration.EXAMPLES, value)
        return 0.0
    try:
        return duration.parse(read)
    except ValueError as error:
        faults.add(path, f"{quote(read)}: {error}")
        return 0.0


def timeout(faults: Faults, path: Path, value: Any) -> float | None:
    """A duration that is not zero."""
    before = len(faults)
    read = seconds(faults, path, value)
    if read == 0 and len(faults) == before:
        faults.add(path, "a timeout must be longer than zero", hint="leave it out for none")
    return read or None


def choice(kind: type[E]) -> Reader:
    """One of the words of an enumeration."""
    words = [item.value for item in kind]

    def read(faults: Faults, path: Path, value: Any) -> E:
        given = word(faults, path, value)
        if given in words:
            return kind(given)
        if as_text(value) is not None:
            faults.add(path, f"expected {alternatives(words)}, found {quote(given)}", hint=faults.nearest(given, words))
        return next(iter(kind))

    return read


def alternatives(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def mapping(faults: Faults, path: Path, value: Any, example: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    expected(faults, path, "a mapping" + (f" such as {example}" if example else ""), value)
    return {}


def items(faults: Faults, path: Path, value: Any, what: str = "a list") -> Iterator[tuple[Path, Any]]:
    """The items of a list with their paths."""
    if not isinstance(value, list):
        expected(faults, path, what, value)
        return
    for index, item in enumerate(value):
        yield (*path, index), item


def texts(faults: Faults, path: Path, value: Any) -> dict[str, str]:
    """A mapping to text."""
    return {key: text(faults, (*path, key), item) for key, item in mapping(faults, path, value).items()}


def labels(faults: Faults, path: Path, value: Any) -> dict[str, str]:
    """A mapping to text that is no template."""
    read = texts(faults, path, value)
    for key, label in read.items():
        if "{{" in label:
            faults.add((*path, key), "a label is plain text and no template")
    return read


def record(
    faults: Faults, path: Path, value: dict[str, Any], readers: Readers, not_built: Collection[str] = ()
) -> dict[str, Any]:
    """A mapping with known keys: by attribute, what its reader made of it. Two spellings of one attribute are a fault.

    `not_built` are keys that have a meaning which this version cannot give them: ignoring them would do something else.
    """
    read: dict[str, Any] = {}
    for key, item in value.items():
        known = readers.get(key)
        if known is None:
            _refuse_key(faults, (*path, key), readers, not_built)
            continue
        attribute, reader = known
        if attribute in read:
            faults.add((*path, key), SAID_ALREADY, about_key=True)
        read[attribute] = reader(faults, (*path, key), item)
    return read


def _refuse_key(faults: Faults, path: Path, readers: Readers, not_built: Collection[str]) -> None:
    key = str(path[-1])
    if key in not_built:
        faults.add(path, "is specified but not built yet", hint="leave it out", about_key=True)
    else:
        hint = foreign.key(key, readers) or faults.nearest(key, readers) or f"known are {', '.join(readers)}"
        faults.add(path, "unknown key", hint=hint, about_key=True)


def require(faults: Faults, path: Path, given: Mapping[str, Any], **keys: str) -> bool:
    """Whether all attributes were given; `keys` are their names in the document."""
    absent = [key for attribute, key in keys.items() if attribute not in given]
    for key in absent:
        faults.add((*path, key), "is required")
    return not absent
