"""The contract of `runner.logs.base.LogStore`: the logs of many attempts, who hears of them, and how they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from tests.contract.log_store.samples import ID, Loop, masker


def test_nothing_is_taken_after_close(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"a")
    sink.close()
    sink.close()
    sink.write("stdout", b"b")
    assert store.read(ID, "stdout") == b"a"


def test_a_log_is_continued(store: LogStore) -> None:
    for data in (b"first", b"second"):
        sink = store.open(ID, masker())
        sink.write("stdout", data)
        sink.write("stderr", b"e")
        sink.close()
    assert store.read(ID, "stdout") == b"firstsecond"
    assert [(frame.stream, frame.offset) for frame in store.frames(ID)] == [
        ("stdout", 0),
        ("stderr", 0),
        ("stdout", 5),
        ("stderr", 1),
    ]


def test_two_sinks_of_one_log(store: LogStore) -> None:
    one, two = store.open(ID, masker()), store.open(ID, masker())
    one.write("stdout", b"1")
    two.write("stdout", b"2")
    one.close()
    two.write("stdout", b"3")
    two.close()
    assert store.read(ID, "stdout") == b"123"


def test_attempts_are_apart(store: LogStore) -> None:
    ids = [ID, ID._replace(attempt=2), ID._replace(task="other"), ID._replace(group="other")]
    for id in ids:
        sink = store.open(id, masker())
        sink.write("stdout", str(id).encode())
        sink.close()
    assert [store.read(id, "stdout") for id in ids] == [str(id).encode() for id in ids]


@pytest.mark.parametrize(
    "name", ["test[3]", "a.1", "..", ".", "", "a/b", "/etc/passwd", "a\0b", "%2E", "ä" * 128, "x" * 5000, "~", "a\nb"]
)
def test_any_name_is_safe(store: LogStore, tmp_path: Path, name: str) -> None:
    before = set(tmp_path.rglob("*"))
    ids = [AttemptId(name, "t", 1), AttemptId("g", name, 1), AttemptId("g", name + "x", 1), AttemptId(name, name, 1)]
    for number, id in enumerate(ids):
        sink = store.open(id, masker())
        sink.write("stdout", b"%d" % number)
        sink.close()
    assert [store.read(id, "stdout") for id in ids] == [b"0", b"1", b"2", b"3"]
    store.delete_group(name)
    assert [store.read(id, "stdout") for id in ids] == [b"", b"1", b"2", b""]
    made = set(tmp_path.rglob("*")) - before
    assert all(path.relative_to(tmp_path).parts[0] == "logs" for path in made)


def test_what_is_written_is_counted(store: LogStore) -> None:
    assert store.written == 0
    store.open(ID, masker()).write("stdout", b"hello\n")
    assert store.written == 6


def test_subscribers_hear_once_a_turn_and_log(store: LogStore, loop: Loop) -> None:
    heard: list[AttemptId] = []
    unsubscribe = store.subscribe(heard.append)
    sinks = [store.open(ID._replace(attempt=attempt), masker()) for attempt in (1, 2)]
    for _ in range(3):
        for sink in sinks:
            sink.write("stdout", b"x")
    assert heard == []
    loop.turn()
    assert [id.attempt for id in heard] == [1, 2]
    sinks[0].write("stderr", b"x")
    loop.turn()
    assert [id.attempt for id in heard] == [1, 2, 1]
    unsubscribe()
    unsubscribe()
    sinks[0].write("stdout", b"x")
    loop.turn()
    assert len(heard) == 3


def test_what_is_held_back_for_masking_is_no_growth(store: LogStore, loop: Loop) -> None:
    heard: list[AttemptId] = []
    store.subscribe(heard.append)
    sink = store.open(ID, masker("hunter2"))
    sink.write("stdout", b"hun")
    loop.turn()
    assert heard == []
    sink.close()
    loop.turn()
    assert heard == [ID]


def test_a_group_is_deleted_with_its_open_logs(store: LogStore) -> None:
    other = store.open(ID._replace(group="other"), masker())
    other.write("stdout", b"stays")
    sink = store.open(ID, masker())
    sink.write("stdout", b"goes")
    store.delete_group("group")
    store.delete_group("group")
    store.delete_group("never known")
    assert store.read(ID, "stdout") == b""
    assert store.read(ID._replace(group="other"), "stdout") == b"stays"
    sink.close()
    again = store.open(ID, masker())
    again.write("stdout", b"new")
    assert [(frame.offset, frame.data) for frame in store.frames(ID)] == [(0, b"new")]


def test_what_deleted_logs_take_is_given_back(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"x" * 100_000)
    sink.close()
    assert 100_000 <= store.size("group") < 200_000
    assert store.size("never known") == 0
    store.purge()
    assert len(store.read(ID, "stdout")) == 100_000
    store.delete_group("group")
    assert store.size("group") == 0
    again = store.open(ID, masker())
    again.write("stdout", b"new")
    again.close()
    store.purge()
    assert store.read(ID, "stdout") == b"new"
