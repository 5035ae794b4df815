"""The parser of a command line, which says what is wrong with one as everything else here is said: what, where, what to do."""

from __future__ import annotations

from argparse import Action, ArgumentError, ArgumentParser
from collections.abc import Iterable
from typing import Any, NoReturn


class Parser(ArgumentParser):
    """`ArgumentParser`, also for the commands below it. Options are spelt in full."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **given})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Nothing is left over: the command that was given too much says so, not the one above it, which does not know its
        options."""
        known, left = super().parse_known_args(args, namespace)
        if left:
            told = (each + _meant(each.partition("=")[0], self._option_string_actions) for each in left)
            self.error(f"not expected here: {', '.join(told)}")
        return known, left

    def _check_value(self, action: Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            expected = (
                _meant(value, names) or f"; expected {' or '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"
            )
            raise ArgumentError(action, f"{value!r} is not known{expected}")

    def error(self, message: str) -> NoReturn:
        """Ends the process with status 2. All options would push aside what is wrong: who wants them asks."""
        from runner.cli.terminal import visible

        self.exit(2, f"{visible(f'{self.prog}: {message}')}; `{self.prog} --help` says more\n")


def _meant(given: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # slow to import

    found = get_close_matches(given, known, 1)
    return f" (is {found[0]} meant?)" if found else ""
