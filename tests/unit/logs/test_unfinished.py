"""A write of several frames of which a runner that was killed, or a full disk, has left some: nobody is ever shown them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.logs.reader import FileLogReader
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import LogSink
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()
LIMIT = 64 << 10
PIECE = LIMIT // 32
NOISE = random.Random(11).randbytes(600_000)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a log of 5 bytes, followed by a write of four frames."""
    store, sink = life(tmp_path)
    sink.write("stdout", b"first", 5)
    sink.write("stdout", NOISE[: 3 * PIECE + 100], 5 + 3 * PIECE + 100)
    yield tmp_path
    store.close()


def life(folder: Path) -> tuple[FileLogStore, LogSink]:
    store = FileLogStore(folder, sealer=SEALER, limit=LIMIT, call_soon=lambda callback: None)
    return store, store.open(ID, Masker())


def file_in(folder: Path) -> Path:
    [file] = folder.rglob("*.log")
    return file


def test_what_was_cut_off_is_not_shown_and_comes_once(folder: Path) -> None:
    file = file_in(folder)
    raw = file.read_bytes()
    header = framing.FRAME_HEADER_BYTES
    begin = len(framing.FILE_HEADER) + header + 5
    cuts = [begin + count * (header + PIECE) + more for count in range(4) for more in (0, 1, header, 100)]
    for cut in cuts:
        file.write_bytes(raw[:cut])
        reader = FileLogReader(folder)
        assert [frame.data for frame in reader.frames(ID)] == [b"first"]
        assert reader.read(ID, "stdout") == b"first"
        assert reader.read(ID, "stdout", 5) == b""
        assert reader.place(ID, "stdout", 5) == begin
        position = reader.frames(ID)[-1].position
        _, sink = life(folder)
        assert sink.taken("stdout") == 5
        sink.write("stderr", b"somebody else was quicker", 25)
        sink.write("stdout", NOISE[:200], 205)
        sink.close()
        rest = [(frame.stream, frame.offset, frame.data) for frame in reader.frames(ID, position)]
        assert rest == [("stderr", 0, b"somebody else was quicker"), ("stdout", 5, NOISE[:200])]


def test_what_is_whole_is_shown_from_any_frame_of_it(folder: Path) -> None:
    reader = FileLogReader(folder)
    frames = reader.frames(ID, limit_bytes=1 << 20)
    assert [len(frame.data) for frame in frames] == [5, PIECE, PIECE, PIECE, 100]
    for number, frame in enumerate(frames):
        assert list(reader.frames(ID, frame.position, 1 << 20)) == list(frames[number + 1 :])


def test_a_last_frame_that_a_loss_of_power_has_emptied_takes_the_others_with_it(folder: Path) -> None:
    file = file_in(folder)
    file.write_bytes(file.read_bytes()[:-100] + bytes(100))
    assert FileLogReader(folder).read(ID, "stdout") == b"first"


def test_the_head_of_a_log_is_shown_where_a_gap_begins_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """What has come before the gap was whole, or there would be none."""
    store, sink = life(tmp_path)
    sink.write("stdout", NOISE, len(NOISE))
    sink.close()
    [gap] = store.gaps(ID)
    file = file_in(tmp_path)
    assert store.read(ID, "stdout", 0, LIMIT) == NOISE[: gap.offset] != b""
    # Whatever is left of what follows it.
    raw = file.read_bytes()
    for cut in (len(raw) - 1, len(raw) - 10_000):
        file.write_bytes(raw[:cut])
        assert store.read(ID, "stdout", 0, LIMIT) == NOISE[: gap.offset]
        assert store.frames(ID, 0, 1)[0].data == NOISE[:PIECE]
