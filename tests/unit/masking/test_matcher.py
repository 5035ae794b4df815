"""The search itself, against the plainest one; with needles that repeat, overlap and begin one another."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.masking import MARK, MaskingStream
from runner.masking.matcher import PROBE_BYTES, Matcher, Needle, agreement
from tests.unit.masking import reference


def letters(alphabet: str, shortest: int, longest: int) -> st.SearchStrategy[bytes]:
    return st.text(alphabet, min_size=shortest, max_size=longest).map(str.encode)


needle = st.one_of(
    letters("ab", 4, 7),
    letters("ab", PROBE_BYTES - 1, PROBE_BYTES * 2 + 3),
    st.tuples(letters("ab", 1, 5), st.integers(4, 12)).map(lambda made: made[0] * made[1]),
)


@st.composite
def needles_and_data(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    needles = draw(st.lists(needle, min_size=1, max_size=4))
    piece = st.one_of(
        letters("abc", 0, 9),
        st.sampled_from(needles),
        st.tuples(st.sampled_from(needles), st.integers(1, 40)).map(lambda made: made[0][: made[1]]),
    )
    return needles, b"".join(draw(st.lists(piece, max_size=8)))


@given(needles_and_data())
def test_every_occurrence_is_found_and_exactly_a_beginning_is_held(case: tuple[list[bytes], bytes]) -> None:
    needles, data = case
    spans, held = Matcher(needles).search(data)
    covered = {at for start, end in spans for at in range(start, end)}
    expected = {
        at + place
        for text in needles
        for at in range(len(data))
        if data.startswith(text, at)
        for place in range(len(text))
    }
    assert covered == expected
    assert held == reference.held(needles, data)


@given(needles_and_data(), st.data())
def test_where_writes_are_cut_changes_nothing(case: tuple[list[bytes], bytes], chance: st.DataObject) -> None:
    needles, data = case
    cuts = sorted(chance.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    stream = MaskingStream(reference.Found(needles))
    said = [stream.feed(data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert b"".join([*said, stream.flush()]) == reference.masked(needles, data)


def test_many_needles_and_many_hits() -> None:
    chance = random.Random(4)
    needles = [bytes(chance.choices(b"abcdef", k=chance.randint(5, 40))) for _ in range(300)]
    data = b"".join(chance.choice(needles)[: chance.randint(1, 60)] + b"-" * chance.randint(0, 2) for _ in range(400))
    stream = MaskingStream(reference.Found(needles))
    assert stream.feed(data) + stream.flush() == reference.masked(needles, data)


@given(letters("ab", 0, 80), st.integers(0, 80), letters("ab", 0, 80), st.integers(0, 80))
def test_agreement(one: bytes, at: int, other: bytes, start: int) -> None:
    at, start = min(at, len(one)), min(start, len(other))
    expected = at
    while expected < len(one) and start + expected - at < len(other) and one[expected] == other[start + expected - at]:
        expected += 1
    assert agreement(one, at, other, start) == expected


def test_needles_that_repeat_themselves_take_linear_time() -> None:
    """Counted in bytes compared, not in seconds: what grows with the square would be a thousand times more."""
    size = 1 << 16
    text = b"a" * size + b"b"
    data = b"a" * (size - 1) + b"c" + b"a" * size
    compared = 0

    class Counted(bytes):
        def __getitem__(self, key: Any) -> Any:
            nonlocal compared
            if isinstance(key, slice):
                compared += len(range(*key.indices(len(self))))
            else:
                compared += 1
            return super().__getitem__(key)

    found, held = Needle(Counted(text)).search(Counted(data), 0)
    assert (found, held) == ([], size)
    assert compared < 20 * (len(text) + len(data))


def test_a_value_printed_back_to_back_is_one_mark_and_no_memory() -> None:
    stream = MaskingStream(reference.Found([b"hunter2"]))
    said = b"".join(stream.feed(b"hunter2" * 100) for _ in range(50))
    assert said + stream.feed(b"hunt") + stream.feed(b"!") + stream.flush() == MARK + b"hunt!"


def test_a_mark_stays_open_as_long_as_finds_touch() -> None:
    stream = MaskingStream(reference.Found([b"hunter2", b"hunter2222"]))
    assert stream.feed(b"x hunter2") == b"x " + MARK
    assert stream.feed(b"2") == b""
    assert stream.feed(b"3") == b"23"
    assert stream.feed(b"hunter2222") + stream.feed(b"hunter2") == MARK
    assert stream.flush() == b""
