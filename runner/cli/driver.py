"""`runner driver`: the task types that this runner, or a node, has, and where their drivers come from."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from runner.cli import ending, plain
from runner.cli.options import add_output_argument, settings_of
from runner.cli.place import add_place_arguments, chosen, with_node
from runner.cli.terminal import STDOUT, Output, visible
from runner.errors import UsageError
from runner.model.fault import nearest, quote

if TYPE_CHECKING:
    from drivers.specwords import Key
    from runner.client import AsyncClient
    from runner.model.tasktype import TaskType

BUILT_IN = "built in"
_HEAD = ("TYPE", "FROM", "RECOVERY", "SIGNALS", "SHELL", "HEALTH")
_AFTER_A_CRASH = {
    "attach": "a task goes on while the runner is away, and is found again",
    "rerun": "a task begins anew",
    "none": "a task is errored (driver_lost)",
}


def run(options: Namespace) -> int:
    if chosen(options) is None:
        status: int = options.verb(_here(options), options)
        return status

    async def asked(client: AsyncClient, options: Namespace) -> int:
        status: int = options.verb((await client.describe()).types, options)
        return status

    return with_node(options, asked)


def _here(options: Namespace) -> Sequence[TaskType]:
    from drivers import listing
    from runner import tasktypes

    return ending.run(listing.task_types(tasktypes.registry(settings_of(options)), {}))


def _list(types: Sequence[TaskType], options: Namespace) -> int:
    stdout = Output(STDOUT)
    if options.output == "json":
        for type in types:
            stdout.print(plain.line({name: value for name, value in _plain(type).items() if name != "spec_schema"}))
        return stdout.status(0)
    rows = [_HEAD, *map(_row, types)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        stdout.print("  ".join([*cells, row[-1]]).rstrip())
    return stdout.status(0)


def _row(type: TaskType) -> tuple[str, ...]:
    signals = ", ".join(type.signals) or "-"
    return (
        visible(type.name),
        visible(_origin(type)),
        type.recovery or "-",
        signals if type.recovery else "-",
        "yes" if type.shell else "-",
        _health(type),
    )


def _show(types: Sequence[TaskType], options: Namespace) -> int:
    found = next((type for type in types if type.name == options.type), None)
    if found is None:
        names = [type.name for type in types]
        hint = nearest(options.type, names) or f"there are {', '.join(names)}"
        raise UsageError(f"there is no task type {quote(options.type)} ({hint})")
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(json.dumps(_plain(found), indent=2, ensure_ascii=False))
    else:
        stdout.print("\n".join(map(visible, _told(found))))
    return stdout.status(0)


def _plain(type: TaskType) -> dict[str, Any]:
    return {**asdict(type), "built_in": not type.package, "spec_schema": json.loads(type.spec_schema or "{}")}


def _origin(type: TaskType) -> str:
    packages, versions = type.package.split(", "), type.version.split(", ")
    return ", ".join(" ".join(pair).strip() for pair in zip(packages, versions, strict=False)) or BUILT_IN


def _health(type: TaskType) -> str:
    about = f": {type.description}" if type.description else ""
    return visible(("healthy" if type.healthy else "cannot be used" if type.unusable else "unhealthy") + about)


def _told(type: TaskType) -> Iterator[str]:
    from drivers import specwords

    schema = json.loads(type.spec_schema or "{}")
    yield type.name
    for line in str(schema.get("description", "")).splitlines():
        yield f"  {line}"
    yield ""
    yield f"  from       {_origin(type)}"
    yield f"  health     {_health(type)}"
    for name, text in type.attributes.items():
        yield f"             {name} {text}"
    if type.unusable:
        return
    yield f"  crash      {_AFTER_A_CRASH.get(type.recovery, type.recovery)}"
    yield f"  signals    {', '.join(type.signals) or 'none'}"
    yield f"  shell      {'`runner shell` has one where a task ran' if type.shell else 'none'}"
    yield f"  timeout    {'kept by the driver' if type.deadline else 'kept by the runner'}"
    keys = specwords.keys(schema)
    yield ""
    yield "  spec:" if keys else "  its spec has no keys"
    yield from _keys(keys, 4)


def _keys(keys: Sequence[Key], indent: int) -> Iterator[str]:
    margin = " " * indent
    for key in keys:
        default = "" if key.default is None else f", else {key.default}"
        yield f"{margin}{key.name}: {key.kind}{', required' if key.required else default}"
        for line in key.about.splitlines():
            yield f"{margin}  {line}"
        if key.spellings:
            yield f"{margin}  also written {', '.join(key.spellings)}"
        if key.examples:
            yield f"{margin}  e.g. {' | '.join(key.examples)}"
        yield from _keys(key.keys, indent + 4)


def add_arguments(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    ls = verbs.add_parser(
        "ls", help="show them all, with where each comes from, how it is and what it can", allow_abbrev=False
    )
    add_output_argument(ls, "a line for each")
    ls.set_defaults(verb=_list)
    show = verbs.add_parser("show", help="tell all about one, and the keys of its spec", allow_abbrev=False)
    show.add_argument("type", metavar="TYPE", help="of `runner driver ls`")
    add_output_argument(show, "all of it, with the JSON Schema of its spec")
    show.set_defaults(verb=_show)
    for verb in (ls, show):
        add_place_arguments(verb)
