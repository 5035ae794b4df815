from __future__ import annotations

import pytest

from tests.unit.dispatch.origin import Origin


@pytest.fixture
def origin() -> Origin:
    return Origin()
