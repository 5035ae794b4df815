"""Amounts of memory and of data as documents write them: `1048576` (bytes), `512MiB`, `1.5GiB`, `2GB`."""

from __future__ import annotations

import re

LARGEST_BYTES = 2**62
EXAMPLES = "a size such as 1048576, 512MiB or 1.5GiB"

_SIZE = re.compile(r"([0-9]{1,20})(\.[0-9]{1,9})?(?: ?([A-Za-z]{1,3}))?")
_UNITS_IN_BYTES: dict[str, int] = {
    "B": 1,
    **{f"{prefix}iB": 1024 ** (power + 1) for power, prefix in enumerate("KMGT")},
    **{f"{prefix}B": 1000 ** (power + 1) for power, prefix in enumerate("kMGT")},
}

PATTERN = rf"^[0-9]{{1,20}}( ?B)?$|^[0-9]{{1,20}}(\.[0-9]{{1,9}})? ?({'|'.join(_UNITS_IN_BYTES)})$"
"""What `parse` reads, for those who look at documents from outside."""


def parse(text: str) -> int:
    """Bytes, rounded down. Raises ValueError with a message that reads well behind the name of the field."""
    if text.startswith("-"):
        raise ValueError("must not be negative")
    match = _SIZE.fullmatch(text)
    unit = match[3] if match else None
    if not match or (match[2] and unit is None):
        raise ValueError(f"expected {EXAMPLES}")
    if unit is not None and unit not in _UNITS_IN_BYTES:
        raise ValueError(f"unknown unit {unit!r}; known are {', '.join(_UNITS_IN_BYTES)}")
    scale = _UNITS_IN_BYTES[unit or "B"]
    places = (match[2] or ".0")[1:].ljust(9, "0")
    size = int(match[1]) * scale + int(places) * scale // 1_000_000_000
    if size > LARGEST_BYTES:
        raise ValueError("is larger than any memory")
    return size


def spell(number: int) -> str:
    """The shortest text with a whole number that `parse` reads as `number`: `4GiB`, `65537`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if number and number % _UNITS_IN_BYTES[unit] == 0:
            return f"{number // _UNITS_IN_BYTES[unit]}{unit}"
    return str(number)
