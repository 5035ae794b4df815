"""The files of the log store: what it costs to read them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.logs.limit import Mark
from runner.logs.places import Places
from runner.masking import Masker
from tests.unit.logs.samples import ID, SEALER, file_of, write


def bytes_read() -> int:
    """By this process since its start."""
    [line] = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar:")]
    return int(line.split()[1])


def test_another_store_reads_while_one_writes(store: FileLogStore) -> None:
    sink = store.open(ID, Masker())
    reader = FileLogStore(store._folder, sealer=SEALER)
    for number in range(5):
        sink.write("stdout", b"%d" % number)
        assert reader.read(ID, "stdout") == bytes(range(48, 49 + number))
    sink.close()


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
