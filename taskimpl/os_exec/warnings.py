"""What is worth a look before an `os_exec` task runs: values that a shell would read as code, secrets that `ps` would show."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from drivers.base import Finding
from runner import expressions
from runner.errors import TemplateError
from runner.expressions import grammar
from runner.expressions.template import MAX_EXPRESSIONS

_POSIX_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
_OWN_ROOTS = frozenset({"group", "task", "matrix"})  # what the document itself says, no value from elsewhere
_SHQUOTED = re.compile(r"\|\s*shquote\s*-?\s*(?:\}\}|$)")
_SCRIPT_OPTION = re.compile(r"-[A-Za-z]*c[A-Za-z]*")


def find(spec: Mapping[str, Any], confidential: Collection[str]) -> Sequence[Finding]:
    """Warnings as `Driver.check` gives them. `confidential` names values as templates do, e.g. `fetch.password`."""
    command = spec.get("command")
    findings: list[Finding] = []
    for path, text in _texts(command) if confidential else ():
        findings += _warnings(path, _visible(text, confidential))
    for path, script in _scripts(command, spec.get("shell")):
        findings += _warnings(path, _unquoted(script))
    for path, text in [*_texts(command), *_values(spec.get("envs"))]:
        findings += _warnings(path, _with_dollar(text))
    if spec.get("user") is not None and os.geteuid() != 0:
        findings.append(
            Finding(
                ("user",),
                "this runner is not root, and can run it as its own user alone; run the runner as root, or leave `user` away",
                True,
            )
        )
    return findings


def _warnings(path: tuple[str | int, ...], told: Iterator[tuple[int, str]]) -> Iterator[Finding]:
    """What was found in one text, each message once, at the first template that it is about."""
    first: dict[str, int] = {}
    for offset, message in told:
        first.setdefault(message, offset)
    return (Finding(path, message, True, offset) for message, offset in first.items())


def _texts(command: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(command, str):
        yield ("command",), command
    elif isinstance(command, list | tuple):
        for number, word in enumerate(command):
            if isinstance(word, str):
                yield ("command", number), word


def _values(envs: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(envs, Mapping):
        for key, value in envs.items():
            if isinstance(value, str):
                yield ("envs", key), value


def _scripts(command: Any, shell: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The texts that a POSIX shell will read."""
    if isinstance(command, str):
        if shell is None or (isinstance(shell, str) and _program(shell.split(" ", 1)[0]) in _POSIX_SHELLS):
            yield ("command",), command
        return
    words = command if isinstance(command, list | tuple) and all(isinstance(word, str) for word in command) else ()
    if words and _program(words[0]) in _POSIX_SHELLS:
        for number, word in enumerate(words[1:-1], start=1):
            if _SCRIPT_OPTION.fullmatch(word):
                yield ("command", number + 1), words[number + 1]
                return


def _program(word: str) -> str:
    return word.rsplit("/", 1)[-1]


def _visible(text: str, confidential: Collection[str]) -> Iterator[tuple[int, str]]:
    for tag, names in _tags(text):
        for name in names:
            if name in confidential:
                message = f"{name} is confidential and would be seen in the list of processes; pass it in envs or files"
                yield tag.start, message


def _with_dollar(text: str) -> Iterator[tuple[int, str]]:
    """Templates as GitHub Actions spells them; a dollar that is meant can be escaped in a shell, or be a template itself."""
    if "${{" in text:
        for tag, _ in _tags(text):
            if text[: tag.start].endswith("$") and text[: tag.start - 1][-1:] not in ("\\", "$"):
                yield (
                    tag.start,
                    "the $ before {{ is no part of the template and stays; leave it out, or write {{ '$' }} if it is meant",
                )


def _unquoted(script: str) -> Iterator[tuple[int, str]]:
    tags = {tag.start: (tag, names) for tag, names in _tags(script)}
    quote = ""
    at = 0
    while at < len(script):
        if at in tags:
            tag, names = tags[at]
            value = next((name for name in names if name.split(".", 1)[0] not in _OWN_ROOTS), None)
            if value is not None and quote != "'" and not _SHQUOTED.search(script[tag.start : tag.end]):
                yield tag.start, _advice(value, quote)
            at = tag.end
            continue
        character = script[at]
        if character == "\\" and quote != "'":
            at += 2
            continue
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif not quote and character == "#" and (at == 0 or script[at - 1] in " \t\n;&|("):
            at = _end_of_comment(script, at, tags)
            continue
        at += 1


def _advice(value: str, quote: str) -> str:
    if quote:
        return (
            f"{value} stands between double quotes in a shell script, where $ and ` in it are obeyed; pass it in envs"
        )
    return (
        f"{value} stands unquoted in a shell script, which would obey what is in it; pass it in envs, or use | shquote"
    )


def _end_of_comment(script: str, at: int, tags: Collection[int]) -> int:
    """Behind the comment, or at a template in it: a value with a line end leaves the comment."""
    while at < len(script) and script[at] != "\n" and at not in tags:
        at += 1
    return at


def _tags(text: str) -> list[tuple[grammar.Tag, tuple[str, ...]]]:
    """The templates in `text` and the values that each names; none where they do not parse, which others report."""
    if not expressions.has_template(text) or text.count("{{") > MAX_EXPRESSIONS:
        return []
    found = []
    try:
        for tag in grammar.tags(text):
            template = expressions.parse(text[tag.start : tag.end])
            found.append((tag, tuple(".".join(map(str, name)) for name in template.names)))
    except TemplateError:
        return []
    return found
