"""Who watches which group. While somebody does, its latest events are kept at hand, so that watching costs no query."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from runner.model.event import Event

RECENT_EVENTS = 1000
"""How many of a watched group are kept; who is further behind reads them from the store."""


class Audience:
    def __init__(self) -> None:
        self._watchers: dict[str, dict[object, Callable[[], None]]] = {}
        self._recent: dict[str, deque[Event]] = {}

    def subscribe(self, group: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit that added events to the group, and at each `told`; the returned function ends
        that."""
        key = object()
        self._watchers.setdefault(group, {})[key] = callback
        self._recent.setdefault(group, deque(maxlen=RECENT_EVENTS))

        def unsubscribe() -> None:
            watchers = self._watchers.get(group, {})
            watchers.pop(key, None)
            if not watchers:
                self._watchers.pop(group, None)
                self._recent.pop(group, None)

        return unsubscribe

    def watches(self, group: str) -> bool:
        return group in self._watchers

    def committed(self, events: Sequence[Event]) -> None:
        """Keep the events, then tell those who watch their groups, each once."""
        touched = dict.fromkeys(event.group for event in events)
        for event in events:
            if event.group in self._recent:
                self._recent[event.group].append(event)
        for group in touched:
            self.told(group)

    def told(self, group: str) -> None:
        """Tell those who watch the group that there is something to see."""
        for callback in list(self._watchers.get(group, {}).values()):
            callback()

    def recent(self, group: str, after: int, limit: int) -> Sequence[Event] | None:
        """The group's events with a number above `after`, at most `limit`; None when they have to be read from the store."""
        kept = self._recent.get(group)
        if not kept or kept[0].number > after + 1:
            return None
        start = after + 1 - kept[0].number
        return list(islice(kept, start, start + limit))
