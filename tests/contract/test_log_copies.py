"""Logs of attempts that run elsewhere: what `LogStore.copy` does, over every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.logs.base import LogStore
from runner.logs.files import FileLogStore
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()

STORES: dict[str, Callable[[Path], LogStore]] = {
    "memory": lambda folder: MemoryLogStore(call_soon=lambda callback: None),
    "files": lambda folder: FileLogStore(folder, call_soon=lambda callback: None, sealer=SEALER, limit=1 << 20),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogStore]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def test_pieces_are_kept_as_they_come_and_each_once(store: LogStore) -> None:
    copy = store.copy(ID)
    assert copy.position == 0
    copy.append("stdout", b"one ", 44)
    copy.append("stderr", b"::add-mask::two\n", 100)
    copy.append("stdout", b"one ", 44)
    copy.append("stdout", b"two", 143)
    assert copy.position == 143
    assert store.read(ID, "stdout") == b"one two"
    assert store.read(ID, "stderr") == b"::add-mask::two\n", "it was masked where it was printed"


def test_it_goes_on_where_it_stood(store: LogStore) -> None:
    copy = store.copy(ID)
    copy.append("stdout", b"one ", 44)
    copy.append("stderr", b"other", 89)
    copy.close()
    copy.close()
    copy.append("stdout", b"ignored", 200)
    again = store.copy(ID)
    assert again.position == 89
    again.append("stdout", b"two", 143)
    assert store.read(ID, "stdout") == b"one two"


def test_a_former_life_that_was_killed_left_whole_pieces(tmp_path: Path) -> None:
    def opened() -> FileLogStore:
        return FileLogStore(tmp_path, call_soon=lambda callback: None, sealer=SEALER)

    store = opened()
    copy = store.copy(ID)
    copy.append("stdout", b"one ", 44)
    copy.append("stdout", b"two ", 88)
    (file,) = tmp_path.rglob("*.log")
    whole = file.read_bytes()
    for cut in range(1, 45):
        file.write_bytes(whole[:-cut])
        after = opened()
        again = after.copy(ID)
        assert again.position == 44
        again.append("stdout", b"two ", 88)
        assert after.read(ID, "stdout") == b"one two "
        after.close()


def test_followers_are_told(tmp_path: Path) -> None:
    due: list[Callable[[], None]] = []
    store = FileLogStore(tmp_path, call_soon=due.append, sealer=SEALER)
    grown: list[AttemptId] = []
    store.subscribe(grown.append)
    store.copy(ID).append("stdout", b"one", 43)
    for callback in due:
        callback()
    assert grown == [ID]
    assert [frame.data for frame in store.frames(ID)] == [b"one"]
