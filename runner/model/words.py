"""How the runner speaks of durations, numbers and signals to a person."""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence


def duration(seconds: float) -> str:
    """For people: `30 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """For people: `1 group`, `1,204 groups`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], number: int | None = None, most: int = 5) -> str:
    """For people: `a`, `a and b`, `a, b and 7 more`. There are `number` of them, of which `names` are the first."""
    shown = names[:most]
    more = (len(names) if number is None else number) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
