"""The command line of a soak that plays one number of something, in a folder of its own, and tells what that took."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

MOST = 10_000


class Told(Protocol):
    """Its text tells what it took, `faults` what should not be."""

    @property
    def faults(self) -> Sequence[str]: ...


def main(
    module: str, description: str | None, what: str, play: Callable[[Path, int], Coroutine[Any, Any, Told]]
) -> int:
    """`python -m tests.soak.MODULE --WHAT NUMBER`; the exit status is 1 where there are faults."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.soak.{module}", description=description)
    parser.add_argument(f"--{what}", dest="number", type=int, default=MOST, help=f"how many ({MOST})")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"{module}-"))
    try:
        told = asyncio.run(play(folder, options.number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(told, *told.faults, sep="\n")
    return 1 if told.faults else 0
