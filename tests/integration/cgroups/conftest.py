from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def _needs_control_groups(request: pytest.FixtureRequest, require: Callable[[str], None]) -> None:
    if "without" not in request.node.name:
        require("cgroup2")
