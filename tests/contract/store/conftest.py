from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from runner.store.base import Store
from tests.contract.store.stores import PERSISTENT, STORES, Open
from tests.contract.store_samples import Calls


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, calls: Calls) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path, calls)
    yield opened
    opened.close()


@pytest.fixture(params=PERSISTENT)
def reopen(request: pytest.FixtureRequest, tmp_path: Path, calls: Calls) -> Open:
    return partial(STORES[request.param], tmp_path, calls)
