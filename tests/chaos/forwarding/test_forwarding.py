"""Two nodes that are killed again and again, and the line between them: `python -m tests.chaos.forwarding` for half a minute; and faults that its
judge has to see. Seeds that fail fail again.
"""

from __future__ import annotations

import re

import pytest

from tests.chaos.forwarding.command import played
from tests.chaos.forwarding.play import play
from tests.chaos.forwarding.wrongs import WRONGS

pytestmark = pytest.mark.timeout(240)


def test_nodes_and_their_line_at_random() -> None:
    assert re.search(r"2 played, \d+ faults, 0 failed", played("--seeds", "0:2"))


@pytest.mark.parametrize("name", [name for name, wrong in WRONGS.items() if not wrong.apart])
def test_what_is_wrong_is_seen(name: str) -> None:
    faults = play(3, WRONGS[name].sabotage)
    assert any(re.search(WRONGS[name].told, fault) for fault in faults), faults
