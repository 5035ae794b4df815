"""The files of the log store: what is masked afterwards."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from runner.errors import StoreCorruptError
from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.masking import Masker
from tests.unit.logs.samples import ID, write


def test_a_redaction_leaves_no_byte_of_the_value_on_disk(store: FileLogStore) -> None:
    file = write(store, b"a hunter2 b", b"hunt", b"er2", b"rest")
    size, inode = file.stat().st_size, file.stat().st_ino
    mask = Masker()
    mask.add("hunter2")
    store.redact(ID, mask)
    raw = file.read_bytes()
    assert b"hunt" not in raw
    assert b"er2" not in raw
    assert (len(raw), file.stat().st_mode & 0o777) == (size, 0o600)
    assert file.stat().st_ino != inode
    assert list(file.parent.iterdir()) == [file]


def test_what_was_masked_afterwards_stands_in_the_header(store: FileLogStore) -> None:
    file = write(store, b"ab hunter2 b")
    mask = Masker()
    mask.add("hunter2")
    told = store.redact(ID, mask)
    raw = file.read_bytes()
    assert raw[112:144] == struct.pack("<QQQQ", 1, 3, 0, 0)
    file.write_bytes(raw[:112] + b"!" + raw[113:])
    with pytest.raises(StoreCorruptError, match="damaged at byte 112"):
        store.redact(ID, mask)
    file.write_bytes(raw)
    assert store.redact(ID, Masker()) == told


def test_every_cut_of_a_redacted_last_frame_is_survived(store: FileLogStore) -> None:
    file = write(store, b"first", b"hunter2hunter2")
    mask = Masker()
    mask.add("hunter2")
    store.redact(ID, mask)
    raw = file.read_bytes()
    last = len(raw) - framing.FRAME_HEADER_BYTES - len(b"hunter2hunter2")
    for cut in range(last, len(raw)):
        file.write_bytes(raw[:cut])
        assert store.read(ID, "stdout") == b"first"
        write(store, b"third")
        assert store.read(ID, "stdout") == b"firstthird"


def test_a_redaction_that_fails_changes_nothing(store: FileLogStore) -> None:
    file = write(store, b"a hunter2 b")
    raw = file.read_bytes()
    new = file.with_name(file.name + ".new")
    new.symlink_to("/dev/null")  # as if somebody else had put it there
    mask = Masker()
    mask.add("hunter2")
    with pytest.raises(OSError, match=r"\.new"):
        store.redact(ID, mask)
    assert file.read_bytes() == raw
    new.unlink()
    new.write_bytes(b"left by a crash" * 100)
    store.redact(ID, mask)
    assert store.read(ID, "stdout") == b"a *** b"
    assert not new.exists()


def test_the_draft_of_a_redaction_that_was_killed_is_removed(store: FileLogStore) -> None:
    """It shows what was to be masked, and nobody may ever ask for that again."""
    file = write(store, b"a hunter2 b")
    file.with_name(file.name + ".new").write_bytes(file.read_bytes())
    sink = store.open(ID, Masker())
    sink.taken("stdout")
    sink.close()
    assert list(file.parent.iterdir()) == [file]


def test_a_large_log_is_redacted_in_bounded_memory(store: FileLogStore) -> None:
    write(store, *[b"x" * 8000 + b" hunter2 "] * 1000)
    mask = Masker()
    mask.add("hunter2")
    mask.contains("prepared before it is measured")
    tracemalloc.start()
    try:
        told = store.redact(ID, mask)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert told[0].marks == 1000
