"""The commands of a README, for the tests that type them."""

from __future__ import annotations

import re
from pathlib import Path


def commands(document: Path) -> list[str]:
    """Its blocks of shell commands, from the first to the last."""
    return re.findall(r"^```sh\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
