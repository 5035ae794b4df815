"""The command, as whoever plays seeds calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def played(*options: str, status: int = 0) -> str:
    """What it says, where that is its exit status."""
    command = [sys.executable, "-W", "error", "-m", "tests.chaos.forwarding", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout
