"""A story is told in order: what an attempt printed behind its start and before its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.engine.story import Part, Story
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.log import Frame
from runner.model.watch import Happening


class Kept:
    """Events and logs that grow."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.logs: dict[AttemptId, list[Frame]] = {}
        self.story = Story("g", self.events, self.frames)

    def events(self, id: str, after: int, limit: int) -> Sequence[Event]:
        assert id == "g"
        return self.told[after : after + limit]

    def frames(self, id: AttemptId, after: int) -> Sequence[Frame]:
        return [frame for frame in self.logs.get(id, ()) if frame.position > after][:2]

    def happens(self, kind: Kind, task: str | None = None, attempt: int | None = None) -> None:
        self.told.append(Event(group="g", number=len(self.told) + 1, at=0.0, kind=kind, task=task, attempt=attempt))

    def prints(self, task: str, data: bytes, attempt: int = 1) -> None:
        id = AttemptId("g", task, attempt)
        log = self.logs.setdefault(id, [])
        log.append(Frame(stream="stdout", offset=0, data=data, at=0.0, position=len(log) + 1))
        self.story.grew(id)

    def take_all(self) -> list[str]:
        found: list[str] = []
        while happenings := self.story.take():
            found += map(short, happenings)
        return found


def short(happening: Happening) -> str:
    if isinstance(happening, Event):
        return happening.kind.value
    return f"{happening.task}/{happening.attempt}: {happening.frame.data.decode()}"


def test_output_comes_behind_the_start_and_before_the_end() -> None:
    kept = Kept()
    kept.prints("t", b"early")
    assert kept.take_all() == []
    kept.happens(Kind.TASK_STARTED, "t", 1)
    assert kept.take_all() == ["task_started", "t/1: early"]
    for word in (b"a", b"b", b"c"):
        kept.prints("t", word)
    kept.happens(Kind.TASK_RETRYING, "t", 1)
    kept.happens(Kind.TASK_STARTED, "t", 2)
    kept.prints("t", b"again", attempt=2)
    kept.happens(Kind.TASK_FINISHED, "t", 2)
    kept.happens(Kind.GROUP_FINISHED)
    assert not kept.story.over
    assert kept.take_all() == [
        *("t/1: a", "t/1: b", "t/1: c", "task_retrying"),
        *("task_started", "t/2: again", "task_finished", "group_finished"),
    ]
    assert kept.story.over


def test_the_output_of_a_failure_that_was_held_is_not_told_again_with_its_end() -> None:
    kept = Kept()
    kept.happens(Kind.TASK_STARTED, "t", 1)
    kept.prints("t", b"once")
    kept.happens(Kind.TASK_HELD, "t", 1)
    assert kept.take_all() == ["task_started", "t/1: once", "task_held"]
    kept.happens(Kind.TASK_FINISHED, "t", 1)
    assert kept.take_all() == ["task_finished"]


def test_logs_have_their_turns() -> None:
    kept = Kept()
    for task in ("x", "y"):
        kept.happens(Kind.TASK_STARTED, task, 1)
        for number in range(3):
            kept.prints(task, str(number).encode())
    assert kept.take_all() == [
        "task_started",
        "task_started",
        *("x/1: 0", "x/1: 1", "y/1: 0", "y/1: 1", "x/1: 2", "y/1: 2"),
    ]


def test_what_has_no_end_is_told_at_last() -> None:
    kept = Kept()
    kept.happens(Kind.TASK_STARTED, "t", 1)
    assert kept.take_all() == ["task_started"]
    kept.logs[AttemptId("g", "t", 1)] = [Frame(stream="stderr", offset=0, data=b"rest", at=0.0, position=1)]
    assert kept.take_all() == [], "nobody has said that it grew"
    rest: list[Any] = list(kept.story.take_rest())
    assert [short(item) for item in rest] == ["t/1: rest"]
    assert not kept.story.take_rest()


def test_many_events_come_in_pieces() -> None:
    kept = Kept()
    for _ in range(2500):
        kept.happens(Kind.TASK_READY, "t")
    assert [len(kept.story.take()) for _ in range(4)] == [1000, 1000, 500, 0]


def test_what_is_given_of_an_attempt_that_runs_is_not_given_again_when_its_start_is_told() -> None:
    kept = Kept()
    id = AttemptId("g", "t", 1)
    kept.story = Story("g", kept.events, kept.frames, Part(running=[id], positions={id: 1}))
    kept.prints("t", b"known")
    kept.prints("t", b"new")
    assert kept.take_all() == ["t/1: new"]
    kept.happens(Kind.TASK_STARTED, "t", 1)
    kept.happens(Kind.TASK_FINISHED, "t", 1)
    assert kept.take_all() == ["task_started", "task_finished"]
