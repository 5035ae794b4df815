"""What a spec model (pydantic) says of a value, in the words of the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
