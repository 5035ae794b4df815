"""The files of the log store: what is held back until it is known whether it has to be masked."""

from __future__ import annotations

import tracemalloc

import pytest

from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.log import LogSink
from tests.unit.logs.samples import ID, file_of

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
