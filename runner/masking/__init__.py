"""Keeps confidential values out of what leaves a task.

`needles` says in which spellings a value is looked for, `matcher` finds them in bytes, `stream` masks a stream however its
writes are cut, `commands` reads the `::add-mask::` lines that a task prints, and `masker` is what one attempt holds of all that.
"""

from __future__ import annotations

from runner.masking.masker import Masker
from runner.masking.needles import SHORTEST_NEEDLE_BYTES
from runner.masking.stream import MARK, Finder, MaskingStream

__all__ = ["MARK", "SHORTEST_NEEDLE_BYTES", "Finder", "Masker", "MaskingStream"]
