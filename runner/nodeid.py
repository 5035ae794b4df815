"""By what a node's state is told from all others."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def of(path: Path) -> str:
    """The identity of this state for good, made when it is needed first."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{(made := secrets.token_hex(16))}\n")
    return made
