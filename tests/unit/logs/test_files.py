"""The files of the log store: what is on disk, and what a crash or damage does to it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from runner.errors import StoreCorruptError
from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer
from tests.unit.logs.samples import ID, SEALER, file_of, write


def test_nothing_written_leaves_nothing_behind(store: FileLogStore, tmp_path: Path) -> None:
    store.open(ID, Masker()).close()
    assert list(tmp_path.iterdir()) == []


def test_permissions_do_not_depend_on_the_umask(store: FileLogStore, tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        file = write(store, b"x")
    finally:
        os.umask(former)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.parent.parent.stat().st_mode & 0o777 == 0o700


def test_the_documented_bytes(store: FileLogStore) -> None:
    store = FileLogStore(store._folder, now=lambda: 1.0, sealer=SEALER)
    raw = write(store, b"ab").read_bytes()
    assert raw[:148] == b"RUNLOG04" + bytes(140)
    assert raw[148:160] == b"\x01\0\0\0\x02\0\0\0\0\0\0\0"  # stdout, in the middle of a line
    assert raw[160:168] == b"\0\0\0\0\0\0\xf0\x3f"
    assert raw[168:184] == bytes(16)
    assert len(raw) == 148 + framing.FRAME_HEADER_BYTES + 2
    assert raw.endswith(b"ab")


def test_every_cut_of_the_last_frame_is_survived(store: FileLogStore) -> None:
    file = write(store, b"first", b"second")
    raw = file.read_bytes()
    last = len(raw) - framing.FRAME_HEADER_BYTES - len(b"second")
    for cut in range(len(raw)):
        file.write_bytes(raw[:cut])
        whole = b"firstsecond"[: 5 if cut >= last else 0]
        assert store.read(ID, "stdout") == whole
        assert b"".join(frame.data for frame in store.frames(ID)) == whole
        write(store, b"third")
        assert store.read(ID, "stdout") == whole + b"third"
        assert [frame.offset for frame in store.frames(ID)] == ([0, 5] if whole else [0])


def test_zeros_that_a_loss_of_power_left_are_no_frame(store: FileLogStore) -> None:
    file = write(store, b"first", b"second")
    raw = file.read_bytes()
    for damaged in (raw + bytes(100), raw[:-6] + bytes(6), raw[:-3] + bytes(3)):
        file.write_bytes(damaged)
        kept = b"firstsecond" if damaged.startswith(raw) else b"first"
        assert store.read(ID, "stdout") == kept
        write(store, b"third")
        assert store.read(ID, "stdout") == kept + b"third"


def test_damage_in_the_middle_is_told(store: FileLogStore) -> None:
    file = write(store, b"first", b"second")
    raw = bytearray(file.read_bytes())
    raw[len(framing.FILE_HEADER) + framing.FRAME_HEADER_BYTES] ^= 1
    file.write_bytes(raw)
    with pytest.raises(StoreCorruptError, match="damaged at byte 148"):
        store.frames(ID)
    with pytest.raises(StoreCorruptError):
        store.read(ID, "stdout")


def test_a_file_of_another_version_is_refused(store: FileLogStore) -> None:
    file = write(store, b"first")
    raw = file.read_bytes()
    file.write_bytes(b"RUNLOG99" + raw[8:])
    with pytest.raises(StoreCorruptError):
        store.frames(ID)
    with pytest.raises(StoreCorruptError):
        write(store, b"second")
    assert file.read_bytes() == b"RUNLOG99" + raw[8:]


def test_damage_is_never_cut_away(store: FileLogStore) -> None:
    file = write(store, *[b"x" * framing.LONGEST_DATA_BYTES] * 3)
    raw = bytearray(file.read_bytes())
    raw[len(framing.FILE_HEADER)] = 79
    file.write_bytes(raw)
    with pytest.raises(StoreCorruptError):
        write(store, b"more")
    assert file.read_bytes() == raw


def test_a_full_disk_leaves_whole_frames(store: FileLogStore) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = store.open(ID, Masker())
    sink.write("stdout", b"first")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
        with pytest.raises(OSError, match="File too large") as caught:
            sink.write("stdout", b"x" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, former)
    assert caught.value.errno == errno.EFBIG
    assert store.read(ID, "stdout") == b"first"
    sink.write("stdout", b"second")
    sink.close()
    assert [(frame.offset, frame.data) for frame in store.frames(ID)] == [(0, b"first"), (5, b"second")]


def test_a_symbolic_link_is_not_followed(store: FileLogStore, tmp_path: Path) -> None:
    file = write(store, b"first")
    file.unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    file.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        write(store, b"second")
    assert victim.read_bytes() == b"precious"


def test_the_running_loop_is_used_where_none_is_given(store: FileLogStore) -> None:
    async def main() -> AttemptId:
        heard: asyncio.Future[AttemptId] = asyncio.get_running_loop().create_future()
        store.subscribe(heard.set_result)
        sink = store.open(ID, Masker())
        sink.write("stdout", b"x")
        sink.write("stdout", b"y")
        sink.close()
        return await heard

    assert asyncio.run(main()) == ID


def test_a_write_of_many_frames_counts_all_or_not_at_all(store: FileLogStore) -> None:
    sink = store.open(ID, Masker())
    sink.write("stdout", b"first", 5)
    size = file_of(store).stat().st_size
    sink.write("stdout", b"x" * (2 * framing.LONGEST_DATA_BYTES + 1), 5 + 2 * framing.LONGEST_DATA_BYTES + 1)
    raw = file_of(store).read_bytes()
    for cut in (size, size + 40, size + framing.LONGEST_DATA_BYTES + 41, len(raw) - 1):
        file_of(store).write_bytes(raw[:cut])
        again = FileLogStore(store._folder, sealer=SEALER)
        assert again.open(ID, Masker()).taken("stdout") == 5
        assert file_of(store).stat().st_size == size
        again.close()


def test_a_log_whose_key_is_another_one_is_not_continued(store: FileLogStore) -> None:
    masker = Masker()
    masker.add("hunter2")
    store.open(ID, masker).write("stdout", b"hunt", 4)
    raw = file_of(store).read_bytes()
    with pytest.raises(StoreCorruptError, match="put the key file back"):
        FileLogStore(store._folder, sealer=Sealer.ephemeral()).open(ID, masker).taken("stdout")
    assert file_of(store).read_bytes() == raw
