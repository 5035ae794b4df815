"""Two nodes with a machine each: `python -m tests.chaos.forwarding --netns` for half a minute; and faults that only show there."""

from __future__ import annotations

import re

import pytest

from tests.chaos.forwarding.command import played
from tests.chaos.forwarding.wrongs import WRONGS
from tests.conftest import Require

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def _machines(require: Require) -> None:
    require("machines")


def test_nodes_with_a_machine_each_at_random() -> None:
    assert re.search(r"2 played, \d+ faults, 0 failed", played("--netns", "--seeds", "0:2"))


@pytest.mark.parametrize("name", [name for name, wrong in WRONGS.items() if wrong.apart])
def test_what_is_wrong_is_seen(name: str) -> None:
    told = played("--netns", "--seeds", "3:4", "--sabotage", name, status=1)
    assert re.search(WRONGS[name].told, told), told
    assert "1 played, 0 faults, 1 failed" in told
