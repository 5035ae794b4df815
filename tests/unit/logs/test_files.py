"""The files of the log store: what is on disk, and what a crash or damage does to it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import StoreCorruptError
from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.logs.limit import Mark
from runner.logs.places import Places
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import LogSink
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "deep" / "logs", sealer=SEALER)


def write(store: FileLogStore, *pieces: bytes) -> Path:
    sink = store.open(ID, Masker())
    for piece in pieces:
        sink.write("stdout", piece)
    sink.close()
    return file_of(store)


def bytes_read() -> int:
    """By this process since its start."""
    [line] = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar:")]
    return int(line.split()[1])


def file_of(store: FileLogStore) -> Path:
    return store._path(ID)


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


LONG = "".join(f"{number:04}-" for number in range(70))
HELD: dict[str, tuple[bytes, bytes]] = {
    "a command": (b"x\n::add-mask::" + LONG.encode() + b"\n" + LONG.encode(), b"x\n::add-mask::***\n***"),
    "a value": (b"say %s" % LONG.encode() * 2, b"say ***" * 2),
}


@pytest.mark.parametrize("kind", HELD)
def test_every_cut_of_what_is_held_back_for_long_is_survived(store: FileLogStore, kind: str) -> None:
    """A runner that was killed at any byte of the log goes on from what the log says, and masks what it would have masked."""
    written, shown = HELD[kind]

    def opened() -> LogSink:
        masker = Masker()
        if kind == "a value":
            masker.add(LONG)
        return store.open(ID, masker)

    sink = opened()
    for end in range(1, len(written) + 1):
        sink.write("stdout", written[end - 1 : end], end)
    file = file_of(store)
    raw = file.read_bytes()
    places = [*range(0, len(raw), 991), *range(len(raw) - 200, len(raw))]
    seen = set()
    for cut in places:
        store.close()
        file.write_bytes(raw[:cut])
        sink = opened()
        taken = sink.taken("stdout")
        seen.add(taken)
        sink.write("stdout", written[taken:], len(written))
        sink.close()
        assert store.read(ID, "stdout") == shown, cut
    assert len(seen) > 70


@pytest.mark.parametrize("kind", HELD)
def test_what_is_held_back_takes_room_once_however_small_the_pieces_are(store: FileLogStore, kind: str) -> None:
    """And what has to be read to go on is no more than a few times that."""
    sizes = []
    for length in (3_000, 6_000, 12_000):
        masker = Masker()
        value = "".join(f"{number:07}-" for number in range(length // 8))
        if kind == "a value":
            masker.add(value)
        id = ID._replace(attempt=length)
        sink = store.open(id, masker)
        written = value[:-1].encode() if kind == "a value" else b"::add-mask::" + value.encode()
        for end in range(1, len(written) + 1):
            sink.write("stdout", written[end - 1 : end], end)
        sizes.append(store._path(id).stat().st_size)
        store.close()
        tracemalloc.start()
        try:
            assert store.open(id, Masker()).taken("stdout") == len(written)
            assert tracemalloc.get_traced_memory()[1] < 60 * length
        finally:
            tracemalloc.stop()
    assert sizes[-1] < 12_000 * 300
    assert sizes[2] < 2.2 * sizes[1] < 5 * sizes[0]


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


def test_another_store_reads_while_one_writes(store: FileLogStore) -> None:
    sink = store.open(ID, Masker())
    reader = FileLogStore(store._folder, sealer=SEALER)
    for number in range(5):
        sink.write("stdout", b"%d" % number)
        assert reader.read(ID, "stdout") == bytes(range(48, 49 + number))
    sink.close()


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


def test_memory_is_bounded_by_what_is_asked_for(store: FileLogStore) -> None:
    sink = store.open(ID, Masker())
    for _ in range(200):
        sink.write("stdout", b"x" * (256 << 10))
    tracemalloc.start()
    try:
        assert len(store.read(ID, "stdout", 40 << 20, 1000)) == 1000
        assert sum(len(frame.data) for frame in store.frames(ID, limit_bytes=1 << 20)) == 1 << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        sink.close()
    assert peak < 8 << 20


def test_what_a_read_costs_does_not_depend_on_what_stands_before(store: FileLogStore) -> None:
    sink = store.open(ID, Masker())
    for _ in range(20_000):
        sink.write("stdout", b"twenty bytes a line\n")
    sink.close()

    def cost(offset: int) -> int:
        before = bytes_read()
        assert len(store.read(ID, "stdout", offset, 1000)) == 1000
        return bytes_read() - before

    assert cost(399_000) > 1_000_000, "the first one looks through all headers"
    assert max(cost(offset) for offset in range(0, 399_000, 7000)) < 200_000


def test_another_file_of_the_same_number_is_noticed(store: FileLogStore) -> None:
    """Another process has masked it anew, twice, or removed it and written another."""
    line_of: dict[str, Callable[[int], bytes]] = {
        "masked": lambda number: b"*** ",
        "longer": lambda number: b"%05d " % number * 40,
        "whole": lambda number: b"value ",
        "shorter": lambda number: b"v",
    }
    for name, line in line_of.items():
        lines = [line(number) for number in range(9000)]
        other = FileLogStore(file_of(store).parents[1] / name, sealer=SEALER)
        file_of(store).parent.mkdir(parents=True, exist_ok=True)
        file_of(store).write_bytes(write(other, *lines).read_bytes())
        whole = b"".join(lines)
        for offset in (len(whole) - 20, 8000):
            assert store.read(ID, "stdout", offset, 10) == whole[offset : offset + 10]


def test_marks_take_little_memory_whatever_the_size_of_a_log() -> None:
    places = Places().of(ID, 1)
    tracemalloc.start()
    try:
        place = len(framing.FILE_HEADER)
        while place < 100 << 30:
            place = places.note(Mark(place, place, 0))
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()


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


def test_what_is_held_back_is_not_readable_in_the_file(store: FileLogStore) -> None:
    masker = Masker()
    masker.add("correct horse battery")
    sink = store.open(ID, masker)
    sink.write("stdout", b"correct horse bat", 17)
    sink.write("stderr", b"::add-mask::staple-and-more\n::add-mask::never-ended", 51)
    raw = file_of(store).read_bytes()
    for text in (b"correct horse", b"staple", b"never-ended", b"Y29ycmVjd", b"c3RhcGxl"):
        assert text not in raw
    assert store.read(ID, "stdout") == b""


def test_a_log_whose_key_is_another_one_is_not_continued(store: FileLogStore) -> None:
    masker = Masker()
    masker.add("hunter2")
    store.open(ID, masker).write("stdout", b"hunt", 4)
    raw = file_of(store).read_bytes()
    with pytest.raises(StoreCorruptError, match="put the key file back"):
        FileLogStore(store._folder, sealer=Sealer.ephemeral()).open(ID, masker).taken("stdout")
    assert file_of(store).read_bytes() == raw
