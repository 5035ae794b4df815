"""What is meant by keys and names as GitHub Actions and others have them, and by keys that stand a level too high or too low."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_KEYS = {
    "across": "matrix",
    "after": "depends_on",
    "attempts": "retry",
    "continue-on-error": "allow_failure",
    "continueOn": "allow_failure",
    "cwd": "workdir",
    "dependencies": "depends_on",
    "depends": "depends_on",
    "dir": "workdir",
    "environment": "envs",
    "jobs": "taskGroup",
    "needs": "depends_on",
    "outputs": "exports",
    "parameters": "inputs",
    "params": "inputs",
    "plan": "taskGroup",
    "preconditions": "if",
    "requires": "depends_on",
    "retryPolicy": "retry",
    "run": "command",
    "script": "command",
    "secrets": "inputs",
    "serial_groups": "concurrency",
    "stages": "taskGroup",
    "steps": "taskGroup",
    "strategy": "matrix",
    "timeout-minutes": "timeout",
    "variables": "env",
    "vars": "env",
    "working-directory": "workdir",
    "working_directory": "workdir",
}
"""What is called so here, where there is such a key."""

_OF_THE_SPEC = {
    "command": "command",
    "cmd": "command",
    "cwd": "workdir",
    "env": "envs",
    "envs": "envs",
    "files": "files",
    "run": "command",
    "script": "command",
    "shell": "shell",
    "stdin": "stdin",
    "workdir": "workdir",
    "working-directory": "workdir",
    "working_directory": "workdir",
}
"""Keys that somebody gives a task itself, and what they are in its spec."""

_OF_THE_TASK = {
    "allow_failure": "allow_failure",
    "continue-on-error": "allow_failure",
    "depends_on": "depends_on",
    "exports": "exports",
    "forward": "forward",
    "if": "if",
    "imports": "imports",
    "matrix": "matrix",
    "needs": "depends_on",
    "outputs": "exports",
    "retry": "retry",
    "strategy": "matrix",
    "timeout": "timeout",
    "timeout-minutes": "timeout",
    "when": "when",
}
"""Keys that somebody gives a spec, and what they are of its task."""

_SECRET = "a secret is an input that is declared `confidential: true`: {{{{ .inputs.{last} }}}}"
_GIVEN = "what is given from outside is an input: {{{{ .inputs.{last} }}}}"
_EXPORT = "what a task exports is imported from it: {{{{ .{task}.{last} }}}}"
_ROOTS = {"secrets": _SECRET, "vars": _GIVEN, "params": _GIVEN, "steps": _EXPORT, "needs": _EXPORT, "jobs": _EXPORT}
"""Names at the beginning of a template's paths, and what is written instead."""


def key(given: str, known: Collection[str]) -> str | None:
    """Of a key where these are known: a hint, or None."""
    if "spec" in known and given in _OF_THE_SPEC:
        return f"did you mean spec: {{{_OF_THE_SPEC[given]}: …}}?"
    ours = _KEYS.get(given)
    return f"did you mean {ours!r}?" if ours in known else None


def key_of_spec(given: str, known: Collection[str]) -> str | None:
    """Of a key of a spec where these are known."""
    if given in _OF_THE_TASK:
        return f"{_OF_THE_TASK[given]!r} is a key of the task: it stands beside `spec`"
    return key(given, known)


def root(path: Sequence[str]) -> str | None:
    """Of what a template reads, where nothing is called as its beginning is."""
    told = _ROOTS.get(path[0])
    if told is None or len(path) < (3 if told is _EXPORT else 2):
        return None
    return told.format(task=path[1], last=path[-1])
