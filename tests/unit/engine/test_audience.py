from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.engine.audience import RECENT_EVENTS, Audience
from runner.model.event import Event, Kind


def _events(numbers: Iterable[int], group: str = "g") -> list[Event]:
    return [Event(group=group, number=number, at=0.0, kind=Kind.TASK_READY) for number in numbers]


def _numbers(events: Sequence[Event] | None) -> list[int] | None:
    return None if events is None else [event.number for event in events]


def test_a_watcher_is_told_once_of_each_commit_and_not_after_it_left() -> None:
    audience = Audience()
    told: list[str] = []
    leave = audience.subscribe("g", lambda: told.append("g"))
    audience.subscribe("h", lambda: told.append("h"))
    audience.committed([*_events([5, 6]), *_events([1], "h")])
    assert told == ["g", "h"]
    leave()
    leave()
    audience.committed(_events([7]))
    assert told == ["g", "h"]


def test_recent_events_are_at_hand_and_older_ones_are_not() -> None:
    audience = Audience()
    assert audience.recent("g", 0, 10) is None
    audience.subscribe("g", lambda: None)
    assert audience.recent("g", 0, 10) is None
    audience.committed(_events([5, 6, 7]))
    assert _numbers(audience.recent("g", 3, 10)) is None
    assert _numbers(audience.recent("g", 4, 10)) == [5, 6, 7]
    assert _numbers(audience.recent("g", 5, 1)) == [6]
    assert _numbers(audience.recent("g", 7, 10)) == []


def test_only_so_many_are_kept_and_only_while_somebody_watches() -> None:
    audience = Audience()
    leave = audience.subscribe("g", lambda: None)
    audience.committed(_events(range(1, RECENT_EVENTS + 3)))
    assert audience.recent("g", 1, 10) is None
    assert _numbers(audience.recent("g", 2, 2)) == [3, 4]
    leave()
    assert audience.recent("g", 2, 2) is None
