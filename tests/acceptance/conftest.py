from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Command]:
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    command = Command(folder=tmp_path / "work")
    yield command
    command.end()
