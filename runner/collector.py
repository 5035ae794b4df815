"""Python's collector of garbage, while something large is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 20_000
"""Objects: to look at them takes some milliseconds."""


@contextmanager
def at_rest() -> Iterator[None]:
    """Nearly all that a document becomes lives on: to look for garbage in it again and again, as it grows, takes a tenth of the
    time, finds nothing, and keeps all threads waiting. Nor is it looked at as soon as it is there: with the first look it would be new, and
    therefore is made old. May be entered by several at once."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > MANY:
            gc.freeze()
            gc.unfreeze()  # whereby all goes to the oldest generation
        if collects:
            gc.enable()
