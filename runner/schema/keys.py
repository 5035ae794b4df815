"""The keys of a document: what each is for, which values it may have, and an example.

Which keys there are is decided by the readers in `runner.model`; a test holds that none is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from runner.model import parse
from runner.model.limits import Limits
from runner.model.result import Reason, Status
from runner.model.task import Scope, When
from runner.model.taskparse import MOST_ATTEMPTS, MOST_BACKOFF, RESERVED_NAMES
from runner.schema import forms
from runner.schema.forms import Schema, but, either, listing, mapping, matching


class Key(NamedTuple):
    """`examples` are values."""

    about: str
    form: Schema
    examples: tuple[Any, ...]


Keys = Mapping[str, Key]


def record(keys: Keys, conditions: Schema | None = None, *, required: tuple[str, ...] = ()) -> Schema:
    """A mapping with these keys and no others."""
    properties = {
        key: {"title": _title(key), "description": item.about, "examples": list(item.examples), **item.form}
        for key, item in keys.items()
    }
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {**schema, **(conditions or {})}


def _title(key: str) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in key).replace("_", " ")
    return words[:1].upper() + words[1:]


VARIABLE: Keys = {
    "key": Key("The variable's name.", forms.VARIABLE, ("LANG",)),
    "value": Key("What it is set to; nothing is the empty text.", forms.TEXT_OR_NOTHING, ("C.UTF-8",)),
}

FORWARD: Keys = {
    "to": Key(
        "The runner's name, as this one calls its peer. It may be a template.",
        matching(r"\S", "expected the name of a runner"),
        ("onprem-1", "{{ .inputs.site }}"),
    ),
    "labels": Key(
        "What the runner must have: any that has all of these labels.",
        but(forms.LABELS, minProperties=1),
        ({"site": "eu", "gpu": "true"},),
    ),
}
_FORWARD = record(FORWARD, forms.one_of(FORWARD))

INPUT: Keys = {
    "default": Key("What it is when nobody gives it; else the empty text.", forms.TEXT, ("latest",)),
    "required": Key("It has to be given.", forms.FLAG, (True,)),
    "confidential": Key("It is *** wherever it would appear.", forms.FLAG, (True,)),
    "description": Key("What it is, for people.", forms.TEXT, ("What to deploy",)),
}
_INPUT = record(INPUT, {"not": {"required": ["default", "required"], "properties": {"required": {"const": True}}}})
_INPUTS = mapping(
    either(_INPUT, forms.TEXT_OR_NOTHING),
    propertyNames={key: value for key, value in forms.NAME.items() if key != "type"},
)

IMPORT: Keys = {
    "from": Key("The task that exports it. This one waits for it.", forms.NAME, ("build",)),
    "variable": Key("The variable; templates read it as {{ .task.variable }}.", forms.NAME, ("url",)),
    "task_name": Key("Another spelling of from.", forms.NAME, ("build",)),
    "name": Key("Another spelling of variable.", forms.NAME, ("url",)),
}
_IMPORT = record(IMPORT, {"allOf": [forms.one_of(("from", "task_name")), forms.one_of(("variable", "name"))]})

EXPORT: Keys = {
    "name": Key("The variable. A command sets it by writing NAME=value to $OUTPUT_FILE.", forms.NAME, ("url",)),
    "confidential": Key("It is *** wherever it would appear.", forms.FLAG, (True,)),
    "scope": Key(
        "global: it appears in the group's result; local (usual): tasks that import it see it alone.",
        {"enum": [scope.value for scope in Scope]},
        (Scope.GLOBAL.value,),
    ),
    "default": Key("What it is when the task has not set it, or was skipped by a condition.", forms.TEXT, ("",)),
}
_EXPORT = record(EXPORT, required=("name",))

RETRY: Keys = {
    "attempts": Key("How often it is tried in all.", {"type": "integer", "minimum": 1, "maximum": MOST_ATTEMPTS}, (3,)),
    "delay": Key("How long to wait before the second attempt.", forms.DURATION, ("2s",)),
    "backoff": Key(
        "How many times longer each wait is than the one before.",
        {"type": "number", "minimum": 1, "maximum": MOST_BACKOFF},
        (2,),
    ),
    "max_delay": Key("The longest wait.", forms.DURATION, ("1m",)),
    "on": Key(
        "What it is tried again for: failed, errored (both are usual), reasons, exit codes.",
        forms.causes([Status.FAILED.value, Status.ERRORED.value, *(reason.value for reason in Reason)]),
        (["failed", 75], "timeout"),
    ),
}
_RETRY = record(RETRY, required=("attempts",))

_CELL = mapping(
    forms.CELL,
    minProperties=1,
    propertyNames={key: value for key, value in forms.NAME.items() if key not in ("type", "not")},
)
MATRIX: Keys = {
    "include": Key(
        "What is added to the combinations that it fits, or is one of its own.",
        listing(_CELL),
        ([{"os": "linux", "compiler": "clang"}],),
    ),
    "exclude": Key(
        "What is taken away: all combinations that have these values.", listing(_CELL), ([{"os": "mac", "py": "3.12"}],)
    ),
    "max_parallel": Key(
        "How many instances are under way at once; retries count.",
        {"type": "integer", "minimum": 1, "maximum": Limits().tasks},
        (2,),
    ),
    "failFast": Key("When one instance fails the others end.", forms.FLAG, (True,)),
}
_MATRIX = {
    **record(MATRIX),
    "minProperties": 1,
    "propertyNames": {key: value for key, value in forms.NAME.items() if key not in ("type", "not")},
    "additionalProperties": listing(forms.CELL, minItems=1, uniqueItems=True),
    "anyOf": [{"required": ["include"]}, {"not": {"propertyNames": {"enum": list(MATRIX)}}}],
}

_KEY = matching(
    rf"\{{\{{|^(?=.*\S)[^\u0000-\u001f\u007f]{{1,{parse.MOST_KEY_BYTES}}}$", "expected one line of printable characters"
)
CONCURRENCY: Keys = {
    "key": Key(
        "Groups with the same key run one after the other. It may name inputs and labels.",
        _KEY,
        ("deploy-{{ .inputs.site }}",),
    ),
    "cancel_previous": Key(
        "Those of the same key that came before are ended; else this one waits for them.", forms.FLAG, (True,)
    ),
}
_CONCURRENCY = record(CONCURRENCY, required=("key",))

_TASK_NAME = but(forms.NAME, **{"not": {"enum": sorted(RESERVED_NAMES)}})

TASK: Keys = {
    "name": Key("The task's name, which no other has.", _TASK_NAME, ("deploy",)),
    "type": Key("What kind of task it is; `spec` says what it is to do.", forms.WORD, ("os_exec",)),
    "description": Key("What it does, for people.", forms.TEXT, ("Puts the site where it belongs",)),
    "depends_on": Key(
        "Tasks that come first: a list, or one name. Who imports from a task waits for it anyway.",
        either(listing(forms.NAME), forms.NAME),
        (["test"], "test"),
    ),
    "imports": Key(
        "Variables of other tasks that templates here may name.",
        listing(_IMPORT),
        ([{"from": "build", "variable": "url"}],),
    ),
    "spec": Key("What it is to do, as its type wants it.", {"type": "object"}, ({"command": "make test"},)),
    "exports": Key("Variables that it hands on.", listing(_EXPORT), ([{"name": "url"}],)),
    "timeout": Key("How long one attempt may take.", forms.TIMEOUT, ("10m", 90)),
    "retry": Key("Whether it is tried again.", _RETRY, ({"attempts": 3, "delay": "2s", "backoff": 2},)),
    "when": Key(
        "success (usual): if all that it waits for was successful; failure: if something before it failed; always: in "
        "any case, for cleaning up.",
        {"enum": [when.value for when in When]},
        (When.ALWAYS.value,),
    ),
    "if": Key(
        "Whether it runs: true, false or one template.", forms.CONDITION, ("{{ .build.changed == 'true' }}", False)
    ),
    "allow_failure": Key("Its failure is not one of the group.", forms.FLAG, (True,)),
    "template": Key("false: nothing in this task is a template.", forms.FLAG, (False,)),
    "forward": Key("Another runner that carries it out.", _FORWARD, ({"to": "onprem-1"},)),
    "matrix": Key(
        "Runs it once for each combination of these values, which templates read as {{ .matrix.name }}.",
        _MATRIX,
        ({"os": ["linux", "mac"], "py": ["3.12", "3.13"], "max_parallel": 2},),
    ),
}

_TASKS = listing({"$ref": "#/definitions/task"}, minItems=1, maxItems=Limits().tasks)
_A_TASK = {"name": "hello", "type": "os_exec", "spec": {"command": "echo hello"}}

GROUP: Keys = {
    "version": Key("Of this format.", {"enum": [int(parse.VERSION), parse.VERSION]}, (int(parse.VERSION),)),
    "name": Key("What the group is called.", forms.LINE, ("deploy",)),
    "description": Key("What it does, for people.", forms.TEXT, ("What the team deploys",)),
    "id": Key(
        "Names the run: the same again is the same run. Mostly left out.",
        but(
            matching(
                f"^{parse.ID.pattern}$",
                "expected at most 128 letters, digits, _ or -, beginning with a letter or digit",
            ),
            minimum=0,
            multipleOf=1,
        ),
        ("deploy-2026-01-31",),
    ),
    "labels": Key("By which groups are found.", forms.LABELS, ({"team": "web"},)),
    "inputs": Key(
        "What is given when it is run; templates read it as {{ .inputs.name }}. A text is a default.",
        _INPUTS,
        ({"tag": {"default": "latest"}, "password": {"required": True, "confidential": True}},),
    ),
    "timeout": Key("How long the group may take, from its acceptance.", forms.TIMEOUT, ("1h",)),
    "failFast": Key("When one task fails all others end.", forms.FLAG, (True,)),
    "cleanup_timeout": Key(
        "How long `when: always` tasks have when the group is ended early.", forms.DURATION, ("5m",)
    ),
    "env": Key(
        "Variables for the environment of all tasks: a mapping, or a list of {key, value} and KEY=VALUE.",
        forms.VARIABLES,
        ({"LANG": "C.UTF-8"},),
    ),
    "forward": Key("Another runner that carries all of it out.", _FORWARD, ({"to": "onprem-1"},)),
    "concurrency": Key(
        "Of groups with the same key one runs at a time: a key, or a mapping.",
        either(_CONCURRENCY, _KEY),
        ({"key": "deploy-{{ .inputs.site }}", "cancel_previous": True}, "deploy"),
    ),
    "taskGroup": Key("The tasks. What does not wait for another one starts at once.", _TASKS, ([_A_TASK],)),
    "tasks": Key("Another spelling of taskGroup.", _TASKS, ([_A_TASK],)),
}
