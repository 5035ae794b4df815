from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.logs.base import LogStore
from tests.contract.log_store.samples import STORES, Loop, Reopen


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop) -> Iterator[LogStore]:
    opened = STORES[request.param](tmp_path, loop.call_soon)
    yield opened
    opened.close()
    opened.close()


@pytest.fixture(params=STORES)
def lives(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop) -> Reopen:
    """Gives the store of each life of a runner that is killed: the same one where it is in memory."""
    if request.param == "files":
        return lambda: STORES["files"](tmp_path, loop.call_soon)
    store = STORES[request.param](tmp_path, loop.call_soon)
    return lambda: store
