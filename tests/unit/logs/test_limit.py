"""Logs on disk that pass their limit: what they take there, and what a crash does to them at any byte."""

from __future__ import annotations

import errno
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import LogGapError
from runner.logs import framing, holes
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.log import LogSink
from tests.unit.logs.samples import ID, SEALER, file_of

LIMIT = 256 << 10
NOISE = random.Random(5).randbytes(4 << 20)


def opened(folder: Path, punch: holes.Punch | None = None) -> tuple[FileLogStore, LogSink]:
    store = FileLogStore(folder, sealer=SEALER, limit=LIMIT, punch=punch)
    return store, store.open(ID, Masker())


def on_disk(file: Path) -> int:
    """What it takes, in bytes."""
    return file.stat().st_blocks * 512


def check(store: FileLogStore, end: int) -> None:
    """All that is shown is what was written, up to `end`."""
    gaps = store.gaps(ID)
    begin, behind = (gaps[0].offset, gaps[0].offset + gaps[0].bytes) if gaps else (end, end)
    assert store.read(ID, "stdout", 0, 1 << 30) == NOISE[:begin]
    assert store.read(ID, "stdout", behind, 1 << 30) == NOISE[behind:end]
    frames = store.frames(ID, limit_bytes=1 << 30)
    assert b"".join(frame.data for frame in frames) == NOISE[:begin] + NOISE[behind:end]
    assert [frame.missing for frame in frames if frame.missing] == [gap.bytes for gap in gaps]


def test_the_disk_holds_no_more_than_the_limit(tmp_path: Path) -> None:
    store, sink = opened(tmp_path)
    piece = 10_000
    for end in range(piece, len(NOISE), piece):
        sink.write("stdout", NOISE[end - piece : end], end)
        assert on_disk(file_of(store)) <= LIMIT + piece + 4 * 4096
    assert file_of(store).stat().st_size > len(NOISE) - 2 * piece
    check(store, end)
    sink.close()


def test_where_nothing_can_be_given_up_all_is_kept_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, begin: int, end: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    store, sink = opened(tmp_path, refuse)
    other = store.open(ID._replace(attempt=2), Masker())
    with caplog.at_level(logging.WARNING):
        for start in range(0, 1 << 20, 4096):
            sink.write("stdout", NOISE[start : start + 4096])
            other.write("stdout", NOISE[start : start + 4096])
    assert not sink.shortened
    check(store, 1 << 20)
    assert [record.message for record in caplog.records] == [
        "logs cannot be kept below their limit: the file system they lie on gives no room back: Operation not supported"
    ]


def test_a_file_system_without_holes(tmp_path: Path, require: Callable[[str], None]) -> None:
    """ramfs is one."""
    require("mount")
    script = 'mount -t ramfs none "$2" && cd "$2" && exec "$0" -c "$1"'
    program = (
        "import os; from runner.logs.holes import Holes; file = os.open('f', os.O_RDWR | os.O_CREAT); "
        "os.write(file, b'x' * 8192); print(Holes().possible(file))"
    )
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, program, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": os.getcwd()})
    assert told.stdout == "False\n"
    assert "Operation not supported" in told.stderr


def test_every_byte_at_which_it_may_be_killed_leaves_a_log_that_reads_right(tmp_path: Path) -> None:
    """While what is known is carried over, while the gap is written, and before and after the hole."""
    states: list[bytes] = []

    def look(descriptor: int, begin: int, end: int) -> None:
        states.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        holes.punch_hole(descriptor, begin, end)

    store, sink = opened(tmp_path / "whole", look)
    mask = Masker()
    sink = store.open(ID, mask)
    sink.write("stderr", b"::add-mask::never-to-be-seen\n", 29)
    sizes: list[int] = []
    while len(states) < 4:  # the first is a look whether there can be holes
        sizes.append(len(sizes) * 10_000 + 10_000)
        former = file_of(store).read_bytes() if file_of(store).exists() else b""
        sink.write("stdout", NOISE[sizes[-1] - 10_000 : sizes[-1]], sizes[-1])
    last = states[-1]
    again, _ = opened(tmp_path / "killed")
    killed = file_of(again)
    killed.parent.mkdir(parents=True)
    written = len(former) + 2 * framing.FRAME_HEADER_BYTES + 10_000  # which is more than one frame holds
    header = len(framing.FILE_HEADER)
    cuts = [
        *((former[:header] + last[header:cut], sizes[-1]) for cut in range(written, len(last) + 1)),
        *((last[:cut] + former[cut:header] + last[header:], sizes[-1]) for cut in range(header + 1)),
        (file_of(store).read_bytes(), sizes[-1]),
    ]
    assert len(cuts) > 150
    for raw, end in cuts:
        killed.write_bytes(raw)
        next_life, sink = opened(tmp_path / "killed")
        gaps = next_life.gaps(ID)
        begin, behind = gaps[0].offset, gaps[0].offset + gaps[0].bytes
        assert next_life.read(ID, "stdout", 0, 1 << 30) == NOISE[:begin]
        assert next_life.read(ID, "stdout", behind, 1 << 30) == NOISE[behind:end]
        assert (sink.taken("stdout"), sink.taken("stderr")) == (end, 29)
        for more in range(end, end + 120_000, 10_000):
            sink.write("stdout", NOISE[more : more + 10_000], more + 10_000)
        assert on_disk(killed) <= LIMIT + 10_000 + 4 * 4096
        behind = next_life.gaps(ID)[0].offset + next_life.gaps(ID)[0].bytes
        assert next_life.read(ID, "stdout", behind, 1 << 30) == NOISE[behind : end + 120_000]
        sink.close()


def test_a_log_that_nothing_follows_is_shortened_by_the_next_life(tmp_path: Path) -> None:
    """The former one was killed when it had written the last of it, and before the gap. (Found by chaos.)"""
    former = FileLogStore(tmp_path, sealer=SEALER).open(ID, Masker())
    for end in range(10_000, 700_001, 10_000):
        former.write("stdout", NOISE[end - 10_000 : end], end)
    store, sink = opened(tmp_path)
    assert sink.taken("stdout") == 700_000
    assert on_disk(file_of(store)) <= LIMIT + 10_000 + 4 * 4096
    assert sink.shortened
    check(store, 700_000)
    sink.close()


VALUE = "".join(f"{number:04}-" for number in range(600))


@pytest.mark.parametrize("command", [False, True], ids=["a value", "a command"])
def test_what_is_held_back_bit_by_bit_is_carried_over_gaps(tmp_path: Path, *, command: bool) -> None:
    """Its first bits are in the gap, and the frames behind it say only what came later."""
    written = f"::add-mask::{VALUE}\n{VALUE}".encode() if command else VALUE.encode()
    store, _ = opened(tmp_path)
    mask = Masker()
    if not command:
        mask.add(VALUE)
    sink = store.open(ID, mask)
    middle = len(VALUE) - 10
    noise = 0
    for end in range(3, middle, 3):
        sink.write("stdout", written[end - 3 : end], end)
        if end > 300:
            sink.write("stderr", NOISE[noise : noise + 1500], noise + 1500)
            noise += 1500
    [gap] = store.gaps(ID)
    assert gap.stream == "stderr"
    next_life, _ = opened(tmp_path)
    mask = Masker()
    if not command:
        mask.add(VALUE)
    sink = next_life.open(ID, mask)
    assert (sink.taken("stdout"), sink.taken("stderr")) == (end, noise)
    sink.write("stdout", written[end:], len(written))
    sink.close()
    assert next_life.read(ID, "stdout") == (b"::add-mask::***\n***" if command else b"***")


def test_a_redacted_log_has_its_hole(tmp_path: Path) -> None:
    store, sink = opened(tmp_path)
    for start in range(0, 2 << 20, 5000):
        sink.write("stdout", NOISE[start : start + 5000])
    sink.write("stdout", b" hunter2 ")
    sink.close()
    size = file_of(store).stat().st_size
    mask = Masker()
    mask.add("hunter2")
    assert store.redact(ID, mask)
    assert file_of(store).stat().st_size == size
    assert on_disk(file_of(store)) <= LIMIT + 4 * 4096
    assert store.frames(ID, limit_bytes=1 << 30)[-1].data == b" *** "


def test_another_process_reads_while_the_log_is_shortened(tmp_path: Path) -> None:
    """It shares nothing with the writer but the file."""
    _, sink = opened(tmp_path)
    sink.write("stdout", NOISE[:1000], 1000)
    over = threading.Event()
    faults: list[str] = []

    def follow() -> None:
        other = FileLogStore(tmp_path, sealer=SEALER)
        offset = position = 0
        while not over.is_set():
            try:
                data = other.read(ID, "stdout", offset, 20_000)
                if data != NOISE[offset : offset + len(data)]:
                    faults.append(f"read at {offset}")
                offset += len(data)
            except LogGapError as gap:
                offset = gap.end
            for frame in other.frames(ID, position, 20_000):
                if frame.data != NOISE[frame.offset : frame.offset + len(frame.data)]:
                    faults.append(f"frame at {frame.offset}")
                position = frame.position

    threads = [threading.Thread(target=follow) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for end in range(2000, len(NOISE), 1000):
            sink.write("stdout", NOISE[end - 1000 : end], end)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    sink.close()
    assert faults == []


def test_texts_that_were_asked_to_be_masked_do_not_make_a_log_grow_without_end(tmp_path: Path) -> None:
    """They are carried over each gap, which comes as seldom as that takes."""
    store, sink = opened(tmp_path)
    asked = b"".join(b"::add-mask::%s\n" % random.Random(number).randbytes(200).hex().encode() for number in range(700))
    sink.write("stderr", asked, len(asked))
    size = file_of(store).stat().st_size
    for end in range(1000, 1 << 20, 1000):
        sink.write("stdout", NOISE[end - 1000 : end], end)
    grown = file_of(store).stat().st_size - size
    assert grown < 3 * (1 << 20)
    assert on_disk(file_of(store)) < LIMIT + 2 * size
    sink.close()
