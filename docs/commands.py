"""Writes docs/commands.md, which tells of every command what its parser knows: `python -m docs.commands`."""

from __future__ import annotations

from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

from runner.cli.commands import COMMANDS, parser_of

PAGE = Path(__file__).with_name("commands.md")
INTRODUCTION = """\
# Commands

All that `runner COMMAND --help` says, in one place. (`python -m docs.commands` writes this page.)

The exit status is 0 for success, 1 where the group did not succeed or something could not be done, 2 where the document or the command
line is wrong, and 130 after an interrupt. With `--output json` there is JSON on stdout and nothing else.
"""


def page() -> str:
    parts = [INTRODUCTION]
    for name in COMMANDS:
        parts += _section(_inner(parser_of([name]))[name], f"runner {name}", 2)
    return "\n".join(parts)


def _section(parser: ArgumentParser, name: str, depth: int) -> Iterator[str]:
    inner = _inner(parser)
    yield f"{'#' * depth} {name}\n"
    if parser.description:
        yield f"{_sentence(parser.description)}\n"
    for group in parser._action_groups:
        rows = [row for action in group._group_actions if (row := _row(action))]
        if rows:
            if group.description:
                yield f"{_sentence(group.description)}\n"
            what = "argument" if group.title == "positional arguments" else "option"
            yield "\n".join([f"| {what} | |", "| --- | --- |", *rows]) + "\n"
    for choice, each in inner.items():
        yield from _section(each, f"{name} {choice}", depth + 1)


def _inner(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Of a command that has commands of its own: those."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for choice in action._choices_actions:
                each = action.choices[choice.dest]
                each.description = each.description or choice.help
            return dict(action.choices)
    return {}


def _row(action: Action) -> str | None:
    if action.help == SUPPRESS or action.dest == "help" or isinstance(action, _SubParsersAction):
        return None
    takes = "" if action.nargs == 0 else _value(action)
    if action.option_strings:
        shown = ", ".join(f"`{option}{f' {takes}' if takes else ''}`" for option in action.option_strings)
    else:
        shown = f"`{takes}`"
    return f"| {shown} | {_cell((action.help or '') % {'default': action.default, 'prog': 'runner'})} |"


def _value(action: Action) -> str:
    if action.choices is not None and action.metavar is None:
        return _cell("|".join(map(str, action.choices)))
    name = action.metavar or action.dest.upper()
    shown = " ".join(name) if isinstance(name, tuple) else str(name)
    return _cell(f"{shown}…" if action.nargs in ("*", "+") else shown)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
