"""What all commands have."""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from importlib import import_module

import pytest

from runner.cli.commands import COMMANDS

LASTING = {"serve", "shell", "supervisor"}
"""What they say they say as they go on, and not as an answer."""
FOR_PROGRAMS = {"schema", "completion", "fmt"}
"""What they print has one form, which a program reads: an editor, a shell, the next command of a pipe."""
OTHERWISE = {"graph"}
"""Their `--format` has `json` too, and what was not said has to be told from what was."""


def leaves(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """The parsers that commands with all their words end at."""
    below = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for choice in action.choices.values():
            yield from leaves(choice)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - LASTING - FOR_PROGRAMS))
def test_every_command_answers_programs(command: str) -> None:
    parser = ArgumentParser(command)
    import_module(f"runner.cli.{command}").add_arguments(parser)
    for leaf in leaves(parser):
        (output,) = [action for action in leaf._actions if "--output" in action.option_strings]
        assert list(output.choices or ()) == ["text", "json"], leaf.prog
        assert output.default == (None if command in OTHERWISE else "text"), leaf.prog
