from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.command import Command


@pytest.fixture
def runner(tmp_path: Path) -> Command:
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    return Command(folder=tmp_path / "work")
