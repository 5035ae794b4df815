"""The JSON Schemas of the values of a document, as a reader of YAML hands them to whoever checks them: `1.10` is a number there,
and a text to the runner, so a text may be a number or a boolean.

A schema that is given to `but` stays as it is; each function and constant here is a schema by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drivers.specschema import TEXT_TYPES
from runner.model import duration, fields, taskparse

Schema = dict[str, Any]

SAYS_WHY = "patternErrorMessage"
"""Says in words what a pattern wants: a key of its own of the YAML language server, which others pass over."""

_NO_TEMPLATE = r"(?![\s\S]*\{\{)"
_EXIT_CODE = "([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"


def but(schema: Mapping[str, Any], **keywords: Any) -> Schema:
    return {**schema, **keywords}


def either(*schemas: Mapping[str, Any]) -> Schema:
    return {"anyOf": [dict(schema) for schema in schemas]}


def matching(pattern: str, why: str, *, types: Iterable[str] = TEXT_TYPES) -> Schema:
    """A text of this form; of a number or a boolean the form is not looked at."""
    return {"type": list(types), "pattern": pattern, SAYS_WHY: why}


def mapping(values: Mapping[str, Any], **keywords: Any) -> Schema:
    return {"type": "object", "additionalProperties": dict(values), **keywords}


def listing(items: Mapping[str, Any], **keywords: Any) -> Schema:
    return {"type": "array", "items": dict(items), **keywords}


def one_of(keys: Iterable[str]) -> Schema:
    """Just one of the keys is given."""
    return {"oneOf": [{"required": [key]} for key in keys]}


TEXT: Schema = {"type": list(TEXT_TYPES)}
FLAG: Schema = {"type": "boolean"}
TEXT_OR_NOTHING: Schema = {"type": [*TEXT_TYPES, "null"]}
LINE = but(
    matching(r"^[^\u0000-\u001f\u007f]*$", "expected one line of printable characters"), maxLength=fields.LONGEST_LINE
)
CELL = matching(f"^{_NO_TEMPLATE}", "a value of a matrix is plain text and no template")
WORD = matching("[^,]$|^,?$", "it ends in a comma: only [ ] and { } have commas")
LABEL = matching(f"^{_NO_TEMPLATE}", "a label is plain text and no template")

# The word true is a name, and a boolean to whoever reads YAML.
NAME = but(
    matching(f"^{fields.NAME.pattern}$", fields.NAME_EXPECTED, types=("string", "boolean")),
    **{"not": {"enum": sorted(fields.RESERVED_NAMES)}},
)
LABELS = mapping(LABEL)

_SECONDS: Schema = {"type": "number", "minimum": 0, "maximum": duration.LONGEST_SECONDS}
_DURATION = matching(duration.PATTERN, f"expected {duration.EXAMPLES}", types=("string",))
DURATION = either(_DURATION, _SECONDS)
TIMEOUT = either(
    but(_DURATION, pattern=duration.PATTERN.replace("^", "^(?=[\\s\\S]*[1-9])", 1)), but(_SECONDS, exclusiveMinimum=0)
)

_TRUTH = r"\s*([tT]rue|TRUE|[fF]alse|FALSE)\s*"
PLAIN_CONDITION = either(FLAG, matching(f"^{_TRUTH}$", "expected true or false", types=("string",)))
CONDITION = either(
    FLAG,
    matching(
        rf"^({_TRUTH}|\s*\{{\{{[\s\S]*\}}\}}\s*)$", "expected true, false or one whole template", types=("string",)
    ),
)

_NEVER = "|".join([*sorted(taskparse.NOT_RETRIED), "true", "True", "TRUE", "false", "False", "FALSE"])


def causes(known: Iterable[str]) -> Schema:
    """What an attempt is tried again for: one of the known reasons, a driver's own, or an exit code."""
    word = matching(
        rf"^(?!({_NEVER})$)(\+?0*{_EXIT_CODE}|(?![-+]?[0-9]+$)([\s\S]*[^,]|,?))$",
        "expected failed, errored, a reason or an exit code from 1 to 255",
        types=("string",),
    )
    cause = either({"enum": sorted(known)}, word, {"type": "integer", "minimum": 1, "maximum": 255})
    return either(listing(cause, minItems=1), cause)


_VARIABLE = r"(?![^=]*\{\{)[^=]+"
VARIABLES = either(
    mapping(TEXT_OR_NOTHING, propertyNames={"pattern": f"^{_VARIABLE}$"}),
    listing(
        either(
            {"$ref": "#/definitions/variable"},
            matching(f"^{_VARIABLE}=", "expected KEY=VALUE or {key, value}", types=("string",)),
        )
    ),
)
VARIABLE = matching(f"^{_VARIABLE}$", "a variable's name has no = and is no template")
