"""The parser of a command line, which says what is wrong with one as everything else here is said: what, where, what to do."""

from __future__ import annotations

from argparse import Action, ArgumentError, ArgumentParser, _SubParsersAction
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(ArgumentParser):
    """`ArgumentParser`, also for the commands below it. Options are spelt in full."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **given})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Nothing is left over: the command that was given too much says so, not the one above it, which does not know its
        options. Nor does argparse tell of an option before a command as long as what is behind it is no command."""
        if self._subparsers is not None and args and self._is_odd(args[0]):
            self._refuse(args[:1], None, " (a command's options stand behind it)")
        known, left = super().parse_known_args(args, namespace)
        if left:
            self._refuse(left, getattr(known, "file", None))
        return known, left

    def _is_odd(self, word: str) -> bool:
        return (
            word.startswith("-")
            and word not in ("-", "--")
            and word.partition("=")[0] not in self._option_string_actions
        )

    def _refuse(self, words: Sequence[str], file: str | None, otherwise: str = "") -> NoReturn:
        from runner.cli import meant  # for those who were mistaken

        told = (
            each + (meant.argument(each, self._option_string_actions, self.prog, file) or otherwise) for each in words
        )
        self.error(f"not expected here: {', '.join(told)}")

    def _check_value(self, action: Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            from runner.cli import meant

            names = [str(choice) for choice in action.choices]
            is_first = isinstance(action, _SubParsersAction) and " " not in self.prog
            hint = meant.command(value, names) if is_first else meant.nearest(value, names)
            expected = hint or f"; expected {' or '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"
            raise ArgumentError(action, f"{value!r} is not known{expected}")

    def error(self, message: str) -> NoReturn:
        """Ends the process with status 2. All options would push aside what is wrong: who wants them asks."""
        from runner.cli.terminal import visible

        self.exit(2, f"{visible(f'{self.prog}: {message}')}; `{self.prog} --help` says more\n")
