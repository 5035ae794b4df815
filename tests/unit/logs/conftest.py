from __future__ import annotations

from pathlib import Path

import pytest

from runner.logs.files import FileLogStore
from tests.unit.logs.samples import SEALER


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "deep" / "logs", sealer=SEALER)
