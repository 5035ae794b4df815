"""Spans of time as documents write them: `90` (seconds), `1.5s`, `250ms`, `2m30s`, `1h`, `7d`."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST_SECONDS = 10 * 365 * 86400.0
EXAMPLES = "a duration such as 90, 1.5s, 2m30s or 1h"

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_SECONDS = re.compile(_NUMBER)
_UNITS = ("d", "h", "m(?!s)", "s", "ms")
_PARTS = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _UNITS))
PATTERN = rf"^(?=[\s\S])(?:{_NUMBER}|{''.join(f'(?:{_NUMBER}{unit})?' for unit in _UNITS)})$"
"""What `parse` reads, for those who look at documents from outside."""
_UNITS_IN_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


@lru_cache(maxsize=256)
def parse(text: str) -> float:
    """Seconds. Raises ValueError with a message that reads well behind the name of the field."""
    if text.startswith("-"):
        raise ValueError("must not be negative")
    seconds = _seconds(text)
    if seconds is None:
        raise ValueError(f"expected {EXAMPLES}")
    if seconds > LONGEST_SECONDS:
        raise ValueError("must not be longer than ten years")
    return seconds


def _seconds(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    match = _PARTS.fullmatch(text)
    if not text or not match:
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS_IN_SECONDS, strict=True) if part)


def spell(seconds: float) -> str:
    """A text that `parse` reads as `seconds`, to the nanosecond: `1h30m`, `250ms`."""
    if round(seconds * 1000) / 1000 != seconds:
        return f"{seconds:.9f}s"
    left = round(seconds * 1000)
    text = ""
    for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, milliseconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
