from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from drivers.base import ProcessLimits
from tests.contract.process_labs import LABS, REAL, Lab


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest, require: Callable[[str], None]) -> Lab:
    return _required(LABS[request.param], require)


@pytest.fixture(params=REAL)
def real_lab(request: pytest.FixtureRequest, require: Callable[[str], None]) -> Lab:
    return _required(LABS[request.param], require)


def _required(lab: Lab, require: Callable[[str], None]) -> Lab:
    for need in lab.needs:
        require(need)
    return lab


@pytest.fixture(params=[None, ProcessLimits(oom_score_adj=1000)], ids=["spawned", "forked"])
def limits(request: pytest.FixtureRequest) -> ProcessLimits | None:
    """A program that asks for nothing special, and one that does, are started in two ways that must look alike."""
    return cast(ProcessLimits | None, request.param)
