"""Damage in a log that is no more than what a killed runner may have left at its end: it is told, and nothing is cut away for it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from runner.errors import StoreCorruptError
from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()
LIMIT = 64 << 10
NOISE = random.Random(12).randbytes(400_000)


def opened(folder: Path) -> FileLogStore:
    return FileLogStore(folder, sealer=SEALER, limit=LIMIT, call_soon=lambda callback: None)


def written(folder: Path, size: int) -> Path:
    store = opened(folder)
    sink = store.open(ID, Masker())
    for end in range(1000, size + 1, 1000):
        sink.write("stdout", NOISE[end - 1000 : end], end)
    sink.close()
    [file] = folder.rglob("*.log")
    return file


def check_that_it_is_told(folder: Path, file: Path, damaged: bytes) -> None:
    file.write_bytes(damaged)
    store = opened(folder)
    with pytest.raises(StoreCorruptError, match="is damaged at byte"):
        store.frames(ID, limit_bytes=1 << 20)
    with pytest.raises(StoreCorruptError, match="is damaged at byte"):
        store.open(ID, Masker()).taken("stdout")
    assert file.read_bytes() == damaged


@pytest.mark.parametrize("frame", [0, 1, 8])
def test_a_header_in_the_middle_that_says_nothing(tmp_path: Path, frame: int) -> None:
    file = written(tmp_path, 10_000)
    raw = bytearray(file.read_bytes())
    place = len(framing.FILE_HEADER) + frame * (framing.FRAME_HEADER_BYTES + 1000)
    for kind in (0, 3, 79):
        raw[place] = kind
        check_that_it_is_told(tmp_path, file, bytes(raw))


@pytest.mark.parametrize("place", [4096, 8192 - 512])
def test_zeros_in_the_middle(tmp_path: Path, place: int) -> None:
    file = written(tmp_path, 16_000)
    raw = file.read_bytes()
    check_that_it_is_told(tmp_path, file, raw[:place] + bytes(4096) + raw[place + 4096 :])


def test_a_gap_that_nobody_knows_any_more(tmp_path: Path) -> None:
    """Nothing is written over what stands behind it."""
    file = written(tmp_path, 50_000 + LIMIT)
    raw = bytearray(file.read_bytes())
    assert opened(tmp_path).gaps(ID)
    for number in (0, 1):
        raw[framing.gap_place(number)] ^= 1
    check_that_it_is_told(tmp_path, file, bytes(raw))


def test_what_only_looks_like_frames_keeps_nobody_busy(tmp_path: Path) -> None:
    """A task can print what it likes, and a loss of power leave anything."""
    file = written(tmp_path, 1000)
    whole = file.read_bytes()
    fake = framing.encode(framing.head("stdout", 0, 1.0, 0, 0), framing.Content(bytes(1000)))
    header = fake[:36] + bytes(4)
    file.write_bytes(whole + bytes(framing.FRAME_HEADER_BYTES) + header * 20_000)
    assert opened(tmp_path).read(ID, "stdout") == NOISE[:1000]
