"""The contract of `runner.logs.base.LogStore`, over every implementation: what was written is read from anywhere."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.errors import LogGapError
from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream
from tests.contract.log_store.samples import ID, masker


def test_frames_in_the_order_of_their_arrival(store: LogStore) -> None:
    sink = store.open(ID, masker())
    written: list[tuple[Stream, bytes]] = [("stdout", b"one"), ("stderr", b"two\xff\0"), ("stdout", b"three")]
    for stream, data in written:
        sink.write(stream, data)
    frames = store.frames(ID)
    assert [(frame.stream, frame.data) for frame in frames] == written
    assert [frame.offset for frame in frames] == [0, 0, 3]
    assert [frame.at for frame in frames] == [12.5] * 3
    positions = [frame.position for frame in frames]
    assert positions == sorted(set(positions))
    assert positions[0] > 0


def test_reading_goes_on_behind_a_position(store: LogStore) -> None:
    sink = store.open(ID, masker())
    for number in range(10):
        sink.write("stdout", b"%d" % number)
    seen = b""
    position = 0
    while frames := store.frames(ID, position, limit_bytes=3):
        assert len(frames) <= 3
        seen += b"".join(frame.data for frame in frames)
        position = frames[-1].position
    assert seen == b"0123456789"
    sink.write("stderr", b"later")
    assert [frame.data for frame in store.frames(ID, position)] == [b"later"]


def test_at_least_one_frame_whatever_the_limit(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"x" * 1000)
    sink.write("stdout", b"y" * 1000)
    assert [len(frame.data) for frame in store.frames(ID, limit_bytes=1)] == [1000]


def test_a_stream_is_read_from_any_offset(store: LogStore) -> None:
    sink = store.open(ID, masker())
    for number in range(20):
        sink.write("stdout", b"<out%02d>" % number)
        sink.write("stderr", b"noise")
    whole = b"".join(b"<out%02d>" % number for number in range(20))
    for offset in [*range(len(whole) + 2), 0, 50, 3]:
        for limit in (1, 7, 8, 1000):
            assert store.read(ID, "stdout", offset, limit) == whole[offset : offset + limit]
    assert store.read(ID, "stderr") == b"noise" * 20


def test_a_long_log_of_small_pieces_is_paged_from_anywhere(store: LogStore) -> None:
    """Also where one stream has written nothing for long, and after what was read has changed its place."""
    chance = random.Random(7)
    sink = store.open(ID, masker())
    whole: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    for number in range(9000):
        stream: Stream = "stderr" if number % 3000 < 10 else "stdout"
        data = b"%05d:" % number + chance.randbytes(chance.randrange(60)).hex().encode()
        sink.write(stream, data)
        whole[stream] += data
    sink.close()

    def check() -> None:
        for stream, text in whole.items():
            for offset in [len(text) - 1, *(chance.randrange(len(text)) for _ in range(100)), 0, len(text)]:
                assert store.read(ID, stream, offset, 300) == text[offset : offset + 300]
                frames = store.frames(ID, store.place(ID, stream, offset), 1)
                assert sum(frame.offset <= offset < frame.offset + len(frame.data) for frame in frames) == (
                    offset < len(text)
                )
            offset, pages = 0, []
            while page := store.read(ID, stream, offset, 10_000):
                pages.append(page)
                offset += len(page)
            assert b"".join(pages) == text

    check()
    assert store.redact(ID, masker("00042:", "03001:", "06500:"))
    for stream, text in whole.items():
        whole[stream] = text.replace(b"00042:", b"***").replace(b"03001:", b"***").replace(b"06500:", b"***")
    check()


def test_other_threads_read_while_it_is_written(store: LogStore) -> None:
    """What they read is right, also while the log passes its limit."""
    limit, pieces = 64 << 10, 5_000
    sink = store.open(ID, masker())
    sink.limit(limit)

    def right(offset: int, data: bytes) -> bool:
        first = offset // 16
        lines = b"".join(b"%015d\n" % number for number in range(first, first + len(data) // 16 + 2))
        return lines[offset % 16 :].startswith(data)

    def read(seed: int) -> int:
        chance, most, wrong = random.Random(seed), 0, 0
        while most < pieces * 16 - 100:
            offset = chance.randrange(most + 100)
            try:
                data = store.read(ID, "stdout", offset, 1000)
            except LogGapError as gap:
                most = max(most, gap.end)
                continue
            wrong += not right(offset, data)
            most = max(most, offset + len(data))
            wrong += sum(not right(frame.offset, frame.data) for frame in store.frames(ID, 0, 2000))
        return wrong

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read, seed) for seed in range(2)]
        for number in range(pieces):
            sink.write("stdout", b"%015d\n" % number)
        assert [reader.result() for reader in readers] == [0, 0]
    assert store.gaps(ID)


def test_an_unknown_log_is_empty(store: LogStore) -> None:
    assert store.frames(ID) == [] or store.frames(ID) == ()
    assert store.read(ID, "stdout") == b""


def test_a_write_of_many_megabytes(store: LogStore) -> None:
    sink = store.open(ID, masker())
    data = bytes(range(256)) * 4096 * 5
    sink.write("stdout", data)
    sink.write("stdout", b"end")
    assert store.read(ID, "stdout", len(data) - 1, 10) == data[-1:] + b"end"
    assert store.read(ID, "stdout", 0, len(data)) == data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40)), max_size=30),
    number=st.integers(0, 1 << 40),
)
def test_what_was_written_is_what_is_read(store: LogStore, pieces: list[tuple[Stream, bytes]], number: int) -> None:
    id = AttemptId("property", f"t{number}", 1)
    written = {name: b"".join(data for stream, data in pieces if stream == name) for name in STREAMS}
    assume(not any(b"::add-mask" in whole.lower() for whole in written.values()))  # which is obeyed
    store.delete_group("property")
    sink = store.open(id, masker())
    for stream, data in pieces:
        sink.write(stream, data)
    sink.close()
    for stream, whole in written.items():
        assert store.read(id, stream) == whole
        assert b"".join(frame.data for frame in store.frames(id) if frame.stream == stream) == whole
