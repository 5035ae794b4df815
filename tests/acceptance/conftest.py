from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import Command
from tests.acceptance.screens import Open, Terminal


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Command]:
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    command = Command(folder=tmp_path / "work")
    yield command
    command.end()


@pytest.fixture
def at_terminal(runner: Command) -> Iterator[Open]:
    """Starts the command at a terminal, which is closed in the end."""
    with ExitStack() as stack:

        def opened(*arguments: str, **options: Any) -> Terminal:
            return stack.enter_context(closing(Terminal(runner, *arguments, **options)))

        yield opened
        runner.end()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    return tmp_path / "packages"
