"""Python's collector of garbage, while something large is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_rest() -> Iterator[None]:
    """Nearly all that a document becomes lives on: to look for garbage in it again and again, as it grows, takes a tenth of the
    time, finds nothing, and keeps all threads waiting. May be entered by several at once."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
