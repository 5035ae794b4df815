"""The contract of `runner.logs.base.LogStore`: a log that passes its limit keeps its beginning and its end."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import LogGapError
from runner.logs.base import LogStore
from runner.model.log import STREAMS, Stream
from tests.contract.log_store.samples import ID, LIMIT, Reopen, kept, masker


def test_a_log_that_passes_its_limit_keeps_head_and_tail(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    whole = b"".join(b"line %08d\n" % number for number in range(40_000))
    for start in range(0, len(whole), 1000):
        sink.write("stdout", whole[start : start + 1000])
        assert kept(store) <= LIMIT + 1000
    sink.close()
    assert sink.shortened
    [gap] = store.gaps(ID)
    end = gap.offset + gap.bytes
    assert gap.stream == "stdout"
    assert LIMIT // 8 < gap.offset <= LIMIT // 4
    assert len(whole) - end > LIMIT // 5
    assert store.read(ID, "stdout", 0, 1 << 20) == whole[: gap.offset]
    assert store.read(ID, "stdout", gap.offset - 1, 2) == whole[gap.offset - 1 : gap.offset]
    assert store.read(ID, "stdout", end, 1 << 20) == whole[end:]
    for offset in (gap.offset, end - 1):
        with pytest.raises(LogGapError, match=f"{end - offset:,} bytes of stdout") as caught:
            store.read(ID, "stdout", offset)
        assert caught.value.end == end
    assert [frame.missing for frame in store.frames(ID, limit_bytes=1 << 30) if frame.missing] == [gap.bytes]
    assert store.read(ID, "stderr") == b""


def test_a_log_below_its_limit_is_whole(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    for _ in range(60):
        sink.write("stdout", b"x" * 1000)
    sink.close()
    assert not sink.shortened
    assert store.gaps(ID) == () or store.gaps(ID) == []
    assert store.read(ID, "stdout") == b"x" * 60_000


def test_without_a_limit_all_is_kept(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    sink.limit(0)
    for _ in range(100):
        sink.write("stdout", b"x" * 2000)
    assert kept(store) == 200_000
    assert not sink.shortened


def test_a_follower_goes_on_behind_a_gap_that_comes_over_it(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    sink.write("stderr", b"e" * 100)
    for number in range(30):
        sink.write("stdout", b"%1000d" % number)
    seen = [*store.frames(ID, limit_bytes=1 << 30)]
    for number in range(30, 400):
        sink.write("stdout", b"%1000d" % number)
    sink.write("stderr", b"end")
    rest = store.frames(ID, seen[-1].position, limit_bytes=1 << 30)
    gaps = {gap.stream: gap for gap in store.gaps(ID)}
    assert list(gaps) == ["stdout"]  # nothing of stderr was in it
    assert rest[0].offset == gaps["stdout"].offset + gaps["stdout"].bytes
    assert [frame.missing for frame in rest] == [gaps["stdout"].bytes, *[0] * (len(rest) - 1)]
    offset = rest[0].offset
    assert b"".join(frame.data for frame in rest[:-1]) == b"".join(
        b"%1000d" % number for number in range(offset // 1000, 400)
    )
    assert (rest[-1].offset, rest[-1].data) == (100, b"end")
    assert store.frames(ID, rest[-1].position) == []


def test_one_large_write_is_cut_too(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    whole = bytes(range(256)) * 4096
    sink.write("stdout", whole)
    assert kept(store) < LIMIT
    [gap] = store.gaps(ID)
    assert store.read(ID, "stdout", 0, LIMIT) == whole[: gap.offset] != b""
    assert store.read(ID, "stdout", gap.offset + gap.bytes, LIMIT) == whole[gap.offset + gap.bytes :] != b""


def test_what_is_known_is_carried_over_a_gap(lives: Reopen) -> None:
    """How far the source was taken, what is held back and what was asked to be masked."""
    filler = b"x" * 5000 + b"\n"
    sink = lives().open(ID, masker("hunter2"))
    sink.limit(LIMIT)
    asked = b"".join(b"::add-mask::token-%d-token\n" % number for number in range(1100))
    sink.write("stderr", filler * 4, len(filler) * 4)
    sink.write("stderr", asked + b"and hun", len(filler) * 4 + len(asked) + 7)
    end = 0
    for _ in range(100):
        end += len(filler)
        sink.write("stdout", filler, end)
    again = masker("hunter2")
    sink = lives().open(ID, again)
    sink.limit(LIMIT)
    assert (sink.taken("stdout"), sink.taken("stderr")) == (end, len(filler) * 4 + len(asked) + 7)
    assert all(again.contains(f"token-{number}-token") for number in range(1100))
    sink.write("stderr", b"ter2!", len(filler) * 4 + len(asked) + 12)
    sink.close()
    assert sink.shortened
    assert [frame.data for frame in lives().frames(ID, limit_bytes=1 << 30)][-1] == b"***!"
    assert len(lives().gaps(ID)) == 2


NOISE: dict[Stream, bytes] = {name: random.Random(name).randbytes(2_000_000) for name in STREAMS}
"""What is written: a piece of it is nowhere else."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from(STREAMS), st.integers(0, 30_000) | st.integers(0, 200), st.integers(0, 9)),
        min_size=5,
        max_size=60,
    ),
    limit=st.sampled_from([LIMIT, 100_000, 300_000]),
)
def test_every_byte_that_is_shown_is_the_right_one_of_its_offset(
    lives: Reopen, pieces: list[tuple[Stream, int, int]], limit: int
) -> None:
    """However it is written, and wherever the runner is killed."""
    store = lives()
    store.delete_group("group")
    sink = store.open(ID, masker())
    sink.limit(limit)
    written = dict.fromkeys(STREAMS, b"")
    for stream, size, kill in pieces:
        end = len(written[stream]) + size
        sink.write(stream, NOISE[stream][end - size : end], end)
        written[stream] = NOISE[stream][:end]
        if not kill:
            store = lives()
            sink = store.open(ID, masker())
            sink.limit(limit)
            assert all(sink.taken(name) == len(written[name]) for name in STREAMS)
    assert kept(store) <= limit + 30_000
    sink.close()
    gaps = {gap.stream: gap for gap in store.gaps(ID)}
    assert bool(gaps) is sink.shortened
    for stream, whole in written.items():
        gap = gaps.get(stream)
        begin, end = (gap.offset, gap.offset + gap.bytes) if gap else (len(whole), len(whole))
        if begin:
            assert store.read(ID, stream, 0, 1 << 30) == whole[:begin]
        if gap:
            assert store.read(ID, stream, end, 1 << 30) == whole[end:]
        ends = 0
        for frame in store.frames(ID, limit_bytes=1 << 30):
            if frame.stream == stream:
                assert frame.offset == ends + frame.missing
                assert frame.data == whole[frame.offset : frame.offset + len(frame.data)]
                ends = frame.offset + len(frame.data)
        assert ends == len(whole) or not whole[end:]
