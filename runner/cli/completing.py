"""What may stand at the cursor of a shell: `runner __complete`, which the scripts of `runner completion` call.

    __complete bash LEFT RIGHT BREAKS    the line on either side of the cursor, and what parts words for readline
    __complete zsh|fish N WORD…          the words of the line, of which the Nth is the one that is being written

The first line that is printed says what may stand there: `words`, which follow, one a line, with a tab and what they are for; or
`files` or `folders`, which the shell itself knows best. Whatever goes wrong nothing is printed: a person is writing.
"""

from __future__ import annotations

import asyncio
import os
from argparse import SUPPRESS, Action, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from runner.cli import shellwords
from runner.cli.terminal import STDOUT, Output, visible

WORDS, FILES, FOLDERS = "words", "files", "folders"

LARGEST_DOCUMENT_BYTES = 1 << 20
"""Of a larger one the names are not looked for, so that nobody waits for them."""
MOST_IDS = 200
MOST_TASKS = 1000

_MANY = ("*", "+")


class Answer(NamedTuple):
    """The candidates are pairs of a word and what it is for."""

    kind: str
    candidates: Sequence[tuple[str, str]] = ()


class Line(NamedTuple):
    """What stands on the line before the cursor: the parser of the innermost command, the action that wants a value, the positional
    action that comes next, and what has been given, by the name of its attribute."""

    parser: ArgumentParser
    pending: Action | None
    next: Action | None
    given: Mapping[str, list[Any]]
    options: bool
    """Whether options may still come."""


def complete(arguments: Sequence[str], parser_of: Callable[[list[str]], ArgumentParser]) -> int:
    """`parser_of` makes the parser for a line that begins in this way."""
    shell, *rest = arguments
    breaks = ""
    if shell == "bash":
        left, right, breaks = rest
        before, current = shellwords.split_open(left)
        after = shellwords.rest(right)
    else:
        at = int(rest[0])
        words = rest[1:]
        before, current, after = words[: at - 1], words[at - 1] if len(words) >= at else "", words[at:]
    parser = parser_of(before[1:])
    kind, candidates = answer(parser, before[1:], current, after)
    cut = max((current.rfind(mark) + 1 for mark in "=:" if mark in breaks), default=0)
    lines = [f"{word[cut:]}\t{about}" for word, about in candidates if word.startswith(current)]
    Output(STDOUT).print("\n".join([kind, *map(_one_line, lines)]))
    return 0


def _one_line(text: str) -> str:
    word, _, about = text.partition("\t")
    return f"{visible(word)}\t{visible(' '.join(about.split()))}"


def answer(parser: ArgumentParser, before: Sequence[str], current: str, after: Sequence[str] = ()) -> Answer:
    """What may stand in the place of `current`, or begin with it."""
    line = read(parser, before)
    whole = read(parser, [*before, *([current] if line.pending or current else []), *after])
    if line.pending is not None:
        return _values(line.pending, line, whole)
    if line.options and current.startswith("-"):
        name, equals, _ = current.partition("=")
        if not equals:
            return Answer(WORDS, list(_options(line)))
        action = line.parser._option_string_actions.get(name)
        if action is None or not _takes_value(action):
            return Answer(WORDS)
        kind, candidates = _values(action, line, whole)
        return Answer(kind, [(f"{name}={word}", about) for word, about in candidates])
    return Answer(WORDS) if line.next is None else _values(line.next, line, whole)


def read(parser: ArgumentParser, words: Iterable[str]) -> Line:
    """As argparse would, of a line that is not complete and may be wrong."""
    given: dict[str, list[Any]] = {}
    pending: Action | None = None
    options = True
    positionals = _positionals(parser)
    for word in words:
        if pending is not None:
            given.setdefault(pending.dest, []).append(word)
            pending = None
        elif options and word == "--":
            options = False
        elif options and word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            action = parser._option_string_actions.get(name)
            if action is None:
                continue
            if not _takes_value(action):
                given.setdefault(action.dest, []).append(action.const)
            elif equals:
                given.setdefault(action.dest, []).append(value)
            else:
                pending = action
        elif positionals and isinstance(positionals[0], _SubParsersAction):
            inner = positionals[0].choices.get(word)
            if inner is None:
                return Line(parser, None, None, given, options=False)
            parser, positionals = inner, _positionals(inner)
        elif positionals:
            given.setdefault(positionals[0].dest, []).append(word)
            if positionals[0].nargs not in _MANY:
                positionals = positionals[1:]
    return Line(parser, pending, positionals[0] if positionals else None, given, options)


def _positionals(parser: ArgumentParser) -> list[Action]:
    return [action for action in parser._actions if not action.option_strings]


def _takes_value(action: Action) -> bool:
    return action.nargs != 0


def _options(line: Line) -> Iterator[tuple[str, str]]:
    for action in line.parser._actions:
        again = action.dest not in line.given or type(action).__name__.startswith("_Append")
        if action.option_strings and action.help != SUPPRESS and again:
            yield max(action.option_strings, key=len), _help(action)


def _help(action: Action) -> str:
    return (action.help or "").replace("%%", "%")


def _values(action: Action, line: Line, whole: Line) -> Answer:
    if isinstance(action, _SubParsersAction):
        return Answer(WORDS, [(choice.dest, _help(choice)) for choice in action._choices_actions])
    if action.choices is not None:
        return Answer(WORDS, [(str(choice), "") for choice in action.choices])
    metavar = str(action.metavar or "")
    if "|" in metavar:
        return Answer(WORDS, [(choice, "") for choice in metavar.split("|")])
    finder = _FINDERS.get((bool(action.option_strings), action.dest, metavar))
    if finder is not None:
        return Answer(WORDS, list(finder(whole)))
    if metavar == "NAME" and line.parser.prog.endswith((" context use", " context rm")):
        return Answer(WORDS, list(_contexts(whole)))
    if metavar in {"FILE", "PATH", "KEY"}:
        return Answer(FILES)
    return Answer(FOLDERS if metavar in {"DIR", "FOLDER"} else WORDS)


def _tasks(line: Line) -> Iterator[tuple[str, str]]:
    document = _document(line)
    tasks = document.get("taskGroup", document.get("tasks"))
    for task in tasks if isinstance(tasks, list) else ():
        if isinstance(task, dict) and isinstance(task.get("name"), str):
            about = str(task.get("description", ""))
            yield str(task["name"]), about
            if "matrix" in task:
                yield from ((name, about) for name in _instances(task["name"], task["matrix"]))


def _instances(task: str, written: Any) -> Sequence[str]:
    from runner.model import matrix, matrixparse
    from runner.model.fault import Faults

    faults = Faults(1)
    read = matrixparse.read(faults, (), written)
    values = [] if read is None else matrix.combinations(faults, (), read, MOST_TASKS, MOST_TASKS)
    return () if read is None or len(faults) else matrix.names(task, read, values)


def _inputs(line: Line) -> Iterator[tuple[str, str]]:
    inputs = _document(line).get("inputs")
    taken = {str(text).partition("=")[0] for dest in ("set", "set_secret") for text in line.given.get(dest, [])}
    for name, about in inputs.items() if isinstance(inputs, dict) else ():
        if name not in taken:
            yield f"{name}=", str(about.get("description", "")) if isinstance(about, dict) else ""


def _document(line: Line) -> Mapping[str, Any]:
    """What the file that the line names holds, as far as it can be read."""
    from runner.model import document

    for name in (*line.given.get("file", ()), *line.given.get("files", ())):
        path = os.path.expanduser(name)
        if not os.path.isfile(path):  # a pipe would be read for ever, and from standard input the shell reads
            continue
        with open(path, "rb") as file:
            data = file.read(LARGEST_DOCUMENT_BYTES + 1)
        if len(data) <= LARGEST_DOCUMENT_BYTES:
            read = document.read(data).data
            if isinstance(read, dict):
                return read
    return {}


def _ids(line: Line) -> Iterator[tuple[str, str]]:
    from runner.cli import ids
    from runner.cli.options import settings_of

    options = _as_options(line)
    if hasattr(options, "node_only"):
        yield ids.LAST, "the group that was accepted last"
    if _is_at_a_node(options):
        return
    try:
        with os.scandir(settings_of(options).runs_dir) as entries:
            found = sorted(((entry.stat().st_mtime, entry.name) for entry in entries if entry.is_dir()), reverse=True)
    except OSError:
        return
    for _, name in islice(found, MOST_IDS):
        yield name, ""


def _tasks_of_run(line: Line) -> Iterator[tuple[str, str]]:
    from runner.cli import ids, place

    options = _as_options(line)
    if _is_at_a_node(options):
        return

    async def found() -> list[tuple[str, str]]:
        async with place.open_groups(options) as groups:
            result = await groups.result(await ids.resolve(groups, options.id), limit=MOST_TASKS)
            return [(name, task.status.value) for name, task in result.results.items()]

    yield from asyncio.run(found())


def _task_types(line: Line) -> Iterator[tuple[str, str]]:
    from runner import tasktypes
    from runner.cli.options import settings_of

    options = _as_options(line)
    if _is_at_a_node(options):
        return
    for type in tasktypes.registry(settings_of(options)).types:  # no plugin is imported for it
        yield type, ""


def _is_at_a_node(options: Namespace) -> bool:
    """Whether a node would have to be asked, which could take long."""
    from runner.cli import place

    return hasattr(options, "node_only") and (options.node_only or place.chosen(options) is not None)


def _as_options(line: Line) -> Namespace:
    """What has been given, as the command would find it."""
    options = Namespace(**line.parser._defaults)
    for action in line.parser._actions:
        values = line.given.get(action.dest)
        if values is None:
            if not hasattr(options, action.dest):
                setattr(options, action.dest, action.default)
        else:
            setattr(options, action.dest, action.type(values[-1]) if callable(action.type) else values[-1])
    return options


def _contexts(line: Line) -> Iterator[tuple[str, str]]:
    from runner.config import contexts
    from runner.config.client import load_client_settings

    for name, endpoint in contexts.load(load_client_settings().contexts_file).contexts.items():
        yield name, endpoint.target


_FINDERS: Mapping[tuple[bool, str, str], Callable[[Line], Iterator[tuple[str, str]]]] = {
    (True, "task", "NAME"): _tasks,
    (True, "beginning", "NAME"): _tasks,
    (True, "beginning", "TASK"): _tasks_of_run,
    (True, "set", "NAME=VALUE"): _inputs,
    (True, "set_secret", "NAME=SOURCE"): _inputs,
    (True, "context", "NAME"): _contexts,
    (True, "id", "ID"): _ids,
    (False, "id", "ID"): _ids,
    (False, "ids", "ID"): _ids,
    (False, "task", "TASK"): _tasks_of_run,
    (False, "type", "TYPE"): _task_types,
}
"""By whether it is an option, its attribute and its metavar."""
