"""What a spec model (pydantic) says of a value, in the words of the document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from runner.model.fault import Path
from runner.model.fields import alternatives

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "text that matches {pattern}",
}
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "unknown key",
    "string_too_short": "expected at least {min_length} characters",
    "string_too_long": "expected at most {max_length} characters",
    "too_short": "expected at least {min_length} items, found {actual_length}",
    "too_long": "expected at most {max_length} items, found {actual_length}",
}


def expectation(error: Mapping[str, Any]) -> str | None:
    """What the value should have been, as it stands behind «expected»; None where the error says something else."""
    words = _EXPECTED.get(error["type"])
    return words.format_map(error.get("ctx", {})) if words is not None else None


def message(error: Mapping[str, Any]) -> str:
    """One of pydantic's `ValidationError.errors()` as the message of a fault; never quotes the value."""
    words = expectation(error)
    if words is not None:
        return f"expected {words}"
    if error["type"] in _MESSAGES:
        return _MESSAGES[error["type"]].format_map(error.get("ctx", {}))
    if error["type"] in {"value_error", "assertion_error"}:
        # What a driver's own validator said.
        return str(error.get("ctx", {}).get("error", "")) or "is not accepted"
    said = str(error["msg"])
    return said[:1].lower() + said[1:]


_KEY = ("[key]",)
"""What pydantic's location ends with when it is a key that is wrong, and not what stands under it."""


class Problem(NamedTuple):
    """What is wrong with one value, or with the key that it stands under. `errors` are pydantic's, at least one; several
    where a union gives one for each of its members."""

    path: Path
    value: Any
    errors: Sequence[Mapping[str, Any]]

    @property
    def wanted(self) -> str | None:
        """What the value should have been; None where something else is said."""
        expected = [words for error in self.errors if (words := expectation(error))]
        return alternatives(list(dict.fromkeys(expected))) if expected else None

    @property
    def message(self) -> str:
        return f"expected {self.wanted}" if self.wanted else message(self.errors[0])

    @property
    def about_key(self) -> bool:
        first = self.errors[0]
        return bool(first["type"] == "extra_forbidden" or first["loc"][-1:] == _KEY)


def problems(
    errors: Iterable[Mapping[str, Any]], data: Any, is_for_later: Callable[[Any, str], bool] | None = None
) -> Iterator[Problem]:
    """pydantic's `ValidationError.errors()` about `data`, one problem for each place. `is_for_later` is given a value and the
    kind of an error, and says whether that is to be left out."""
    by_path: dict[Path, tuple[Any, list[Mapping[str, Any]]]] = {}
    for error in errors:
        path, value = _find(data, error["loc"], error["type"] == "missing")
        of_key = error["loc"][-1:] == _KEY  # and no key is a template
        if of_key or is_for_later is None or not is_for_later(value, error["type"]):
            by_path.setdefault(path, (value, []))[1].append(error)
    around = {path[:length] for path in by_path for length in range(len(path))}
    for path, (value, found) in by_path.items():
        # What came further than to the kind of the value, here or deeper, was the member of the union that was meant.
        telling = [error for error in found if expectation(error) is None]
        if telling or path not in around:
            yield Problem(path, value, telling or found)


def _find(data: Any, location: Sequence[str | int], missing: bool) -> tuple[Path, Any]:
    """The path in the document and the value there. pydantic's location also names members of unions and validators."""
    path: list[str | int] = []
    here = data
    for index, part in enumerate(location):
        if _holds(here, part):
            path.append(part)
            here = here[part]
        elif missing and index == len(location) - 1:
            path.append(part)
            here = None
    return tuple(path), here


def _holds(value: Any, key: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, Mapping) and key in value


LONGEST_EXCEPTION = 500
"""In characters."""


def exception(error: BaseException) -> str:
    """An error of somebody else's code in one line that is not too long. It may be cut in the middle of what has to be masked."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - it is theirs, and may be of any kind
        text = "its text cannot be read"
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    line = line.encode(errors="backslashreplace").decode()
    return line if len(line) <= LONGEST_EXCEPTION else f"{line[: LONGEST_EXCEPTION - 1]}…"
