"""What is meant by keys and names as GitHub Actions and others have them, and by keys that stand a level too high or too low."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_KEYS = {
    "across": "matrix",
    "after": "depends_on",
    "attempts": "retry",
    "cmd": "command",
    "continue-on-error": "allow_failure",
    "continueOn": "allow_failure",
    "cwd": "workdir",
    "dependencies": "depends_on",
    "depends": "depends_on",
    "dir": "workdir",
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
    "working-directory": "workdir",
    "working_directory": "workdir",
}
"""What is called so here, where there is such a key."""

_VARIABLES = frozenset({"env", "envs", "environment", "variables", "vars"})
"""What is called `envs` in a spec and `env` in a group."""

_OF_THE_SPEC = frozenset({"command", "envs", "files", "shell", "stdin", "workdir"})
"""What somebody may have given the task itself."""

_OF_THE_TASK = frozenset({
    "allow_failure", "depends_on", "exports", "forward", "if", "imports", "matrix", "retry", "timeout", "when",
})  # fmt: skip
"""What somebody may have given its spec."""

_SECRET = "a secret is an input that is declared `confidential: true`: {{{{ .inputs.{last} }}}}"
_GIVEN = "what is given from outside is an input: {{{{ .inputs.{last} }}}}"
_EXPORT = "what a task exports is imported from it: {{{{ .{task}.{last} }}}}"
_ROOTS = {"secrets": _SECRET, "vars": _GIVEN, "params": _GIVEN, "steps": _EXPORT, "needs": _EXPORT, "jobs": _EXPORT}
"""Names at the beginning of a template's paths, and what is written instead."""


def key(given: str, known: Collection[str]) -> str | None:
    """Of a key where these are known: a hint, or None."""
    ours = _ours(given, known)
    if "spec" in known and ours in _OF_THE_SPEC:
        return f"did you mean spec: {{{ours}: …}}?"
    return f"did you mean {ours!r}?" if ours in known else None


def key_of_spec(given: str, known: Collection[str]) -> str | None:
    """Of a key of a spec where these are known."""
    ours = _ours(given, known)
    return f"{ours!r} is a key of the task: it stands beside `spec`" if ours in _OF_THE_TASK else key(given, known)


def _ours(given: str, known: Collection[str]) -> str:
    if given in _VARIABLES:
        return "env" if "env" in known and "envs" not in known else "envs"
    return _KEYS.get(given, given)


def root(path: Sequence[str]) -> str | None:
    """Of what a template reads, where nothing is called as its beginning is."""
    told = _ROOTS.get(path[0])
    if told is None or len(path) < 2 or (told is _EXPORT and "outputs" not in path[2:-1]):
        return None
    return told.format(task=path[1], last=path[-1])
