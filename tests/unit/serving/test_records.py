from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from runner.serving.records import BURST, LINES_KEPT, Format, Records, Repetition


class Kept:
    def __init__(self) -> None:
        self.what: list[BaseException | str] = []

    def __call__(self, what: BaseException | str) -> str:
        self.what.append(what)
        return "details are elsewhere"


class Scene:
    """A logger of its own, whose records go into a pipe."""

    def __init__(self, form: Format) -> None:
        self.reads, self._writes = os.pipe()
        self.kept = Kept()
        self.log = logging.Logger("runner.somewhere")
        self.records = Records(self._writes, form, self.kept)
        self.log.addHandler(self.records)

    def lines(self) -> list[str]:
        """All that was said, once it is over."""
        self.records.close()
        os.close(self._writes)
        with open(self.reads, closefd=False) as pipe:
            return pipe.read().splitlines()

    def said(self) -> list[Any]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene("json")
    yield scene
    os.close(scene.reads)


@pytest.fixture
def text_scene() -> Iterator[Scene]:
    scene = Scene("text")
    yield scene
    os.close(scene.reads)


def test_a_record_is_one_object_on_one_line(scene: Scene) -> None:
    extra = {"action": "group_lost", "group_id": "a", "numbers": (1, 2)}
    scene.log.warning("group %s is lost", "ä\x1b[31m", extra=extra)
    [line] = scene.lines()
    assert line.isascii()
    said = json.loads(line)
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "warning",
        "action": "group_lost",
        "group_id": "a",
        "numbers": [1, 2],
        "message": "group ä\x1b[31m is lost",
    }


def test_what_has_no_action_is_called_by_its_logger(scene: Scene) -> None:
    scene.log.info("hello")
    assert scene.said()[0]["action"] == "runner.somewhere"


def test_for_people_it_is_a_line_without_control_characters(text_scene: Scene) -> None:
    text_scene.log.error("lost \x1b[2J", extra={"action": "a", "group_id": "g", "names": ["x", "y"]})
    [line] = text_scene.lines()
    assert line.endswith(" error: lost \\x1b[2J (group_id g; names x, y)")


def test_what_an_error_says_is_not_for_everybody(scene: Scene) -> None:
    error = ValueError("the password is hunter2")
    try:
        raise error
    except ValueError:
        scene.log.exception("a driver failed")
    scene.log.error("something: %s", "Traceback (most recent call last):\n  hunter2\nKeyError: hunter2")
    lines = scene.lines()
    assert "hunter2" not in "".join(lines)
    first, second = map(json.loads, lines)
    assert (first["message"], first["error"], first["details"]) == (
        "a driver failed",
        "ValueError",
        "details are elsewhere",
    )
    assert second["message"] == "something"
    assert scene.kept.what[0] is error
    assert "hunter2" in str(scene.kept.what[1])


def test_a_record_that_cannot_be_shown_ends_nothing(scene: Scene) -> None:
    scene.log.error("%d", "hunter2")
    scene.log.error("and on")
    first, second = scene.said()
    assert first["message"] == "a record could not be shown: TypeError"
    assert second["message"] == "and on"


def test_a_flood_of_one_kind_is_held_back_and_counted(scene: Scene) -> None:
    for number in range(10 * BURST):
        scene.log.warning("token %d is not known", number, extra={"action": "unauthenticated"})
    scene.log.warning("something else", extra={"action": "other"})
    said = scene.said()
    assert "other" in {each["action"] for each in said}
    shown = [each for each in said if each["action"] == "unauthenticated"]
    assert BURST <= len(shown) < 5 * BURST
    # All are accounted for: one by one, or as held back. The last line counts itself as none.
    assert len(shown) - 1 + sum(each.get("held_back", 0) for each in shown) == 10 * BURST


def test_whoever_does_not_read_holds_nobody_up_and_is_told_what_he_missed(scene: Scene) -> None:
    count = LINES_KEPT + 3000
    for number in range(count):
        scene.log.warning(f"{number} {'x' * 100}")
    with open(scene.reads, closefd=False) as pipe:
        shown = [json.loads(pipe.readline()) for _ in range(LINES_KEPT // 2)]
        scene.log.warning("at last")
        while shown[-1]["message"] != "at last":
            shown.append(json.loads(pipe.readline()))
    assert shown[-1]["lost"] > 0
    assert len(shown) + shown[-1]["lost"] == count + 1
    scene.records.close()


def record(action: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "n", "action": action, "msg": "m"})


def test_repetition_is_allowed_at_a_rate() -> None:
    repetition = Repetition(burst=2, a_second=1)
    assert [repetition.admit(record("a"), now) for now in (0, 0, 0, 0)] == [0, 0, None, None]
    assert repetition.admit(record("b"), 0) == 0
    assert repetition.held_back() == [("a", 2)]
    assert repetition.admit(record("a"), 0.5) is None
    assert repetition.admit(record("a"), 1.0) == 3
    assert repetition.admit(record("a"), 1.5) is None
    assert [repetition.admit(record("a"), now) for now in (100, 100, 100)] == [1, 0, None]


def test_of_kinds_so_many_are_remembered() -> None:
    repetition = Repetition(burst=1, a_second=0)
    for number in range(5000):
        assert repetition.admit(record(str(number)), 0) == 0
    assert len(vars(repetition)["_kinds"]) == 1000
