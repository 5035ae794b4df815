"""Logs of attempts that run elsewhere: what `LogStore.copy` does, over every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.logs.base import LogStore
from runner.logs.files import FileLogStore
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId
from runner.model.log import Stream
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


def test_what_was_masked_again_takes_its_place(store: LogStore) -> None:
    """And who reads on finds his place."""
    copy = store.copy(ID)
    pieces: list[tuple[Stream, bytes, int]] = [
        ("stdout", b"begin secret", 52), ("stderr", b"a secret here\n", 106), ("stdout", b" and more\n", 155), ("stdout", b"end", 200),
    ]  # fmt: skip
    for piece in pieces:
        copy.append(*piece)
    positions = [frame.position for frame in store.frames(ID)]
    copy.afresh()
    again: list[tuple[Stream, bytes, int]] = [
        ("stdout", b"begin ***", 52),
        ("stderr", b"a *** here\n", 106),
        ("stdout", b"end", 200),
    ]
    for piece in again:
        copy.append(*piece)
    assert store.read(ID, "stdout") == b"begin secret and more\nend", "not before all of it has come"
    copy.settle()
    assert store.read(ID, "stdout") == b"begin ***end"
    assert store.read(ID, "stderr") == b"a *** here\n"
    for number, position in enumerate(positions):
        rest = store.frames(ID, after=position)
        assert [frame.data for frame in rest] == [piece for piece in (b"a *** here\n", b"end") if piece in [
            data for _, data, place in again if place > pieces[number][2]
        ]]  # fmt: skip
    copy.append("stdout", b" behind", 300)
    assert store.read(ID, "stdout") == b"begin ***end behind"
    assert [frame.offset for frame in store.frames(ID) if frame.stream == "stdout"] == [0, 9, 12]


def test_what_is_never_settled_leaves_the_old_one(store: LogStore) -> None:
    copy = store.copy(ID)
    copy.append("stdout", b"old", 43)
    copy.afresh()
    copy.append("stdout", b"n", 43)
    copy.close()
    assert store.read(ID, "stdout") == b"old"
    again = store.copy(ID)
    again.afresh()
    again.append("stdout", b"new", 43)
    again.append("stdout", b"er", 88)  # more has come: nothing of the old is left to come
    assert store.read(ID, "stdout") == b"newer"


def test_afresh_where_nothing_was_kept(store: LogStore) -> None:
    copy = store.copy(ID)
    copy.afresh()
    copy.append("stdout", b"new", 43)
    copy.settle()
    assert store.read(ID, "stdout") == b"new"


def test_around_a_gap(tmp_path: Path) -> None:
    """The copy has a limit of its own."""
    for store in (
        FileLogStore(tmp_path, call_soon=lambda callback: None, sealer=SEALER, limit=64 << 10),
        MemoryLogStore(call_soon=lambda callback: None, limit=64 << 10),
    ):
        copy = store.copy(ID)
        for number in range(200):
            copy.append("stdout", b"%04d secret %s" % (number, b"." * 1000), number + 1)
        [gap] = store.gaps(ID)
        copy.afresh()
        for number in range(200):
            copy.append("stdout", b"%04d *** %s" % (number, b"." * 1000), number + 1)
        copy.settle()
        [now] = store.gaps(ID)
        frames = store.frames(ID, limit_bytes=1 << 30)
        said = b"".join(frame.data for frame in frames)
        assert b"secret" not in said
        assert said.startswith(b"0000 *** ...")
        assert said.endswith(b".")
        assert now.bytes == gap.bytes
        assert frames[0].offset + sum(len(frame.data) for frame in frames if frame.offset < now.offset) == now.offset
        assert store.read(ID, "stdout", now.offset + now.bytes).startswith(b"0")
        store.close()


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
