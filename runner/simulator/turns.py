"""Whose turn it is to get a slot, for the reference model: callers stand in a circle, and in each of them its groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Turns:
    """Who begins to wait joins the circle at its end, who was served goes to its end, who does not wait any more leaves it."""

    def __init__(self) -> None:
        self._callers: list[str] = []
        self._groups: dict[str, list[str]] = {}

    def look(self, waiting: Mapping[str, Collection[str]]) -> None:
        """Who waits now: callers, each with its groups."""
        self._callers = _kept(self._callers, waiting)
        self._groups = {caller: _kept(self._groups.get(caller, []), groups) for caller, groups in waiting.items()}

    def next(self) -> str | None:
        """The group that is served now; None when none waits."""
        if not self._callers:
            return None
        caller = self._callers.pop(0)
        self._callers.append(caller)
        group = self._groups[caller].pop(0)
        self._groups[caller].append(group)
        return group


def _kept(before: list[str], now: Collection[str]) -> list[str]:
    return [*(name for name in before if name in now), *(name for name in now if name not in before)]
