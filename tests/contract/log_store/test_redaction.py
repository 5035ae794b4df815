"""The contract of `runner.logs.base.LogStore`: what became confidential later is masked in what is stored."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Redaction, Stream
from tests.contract.log_store.samples import ID, LIMIT, Reopen, masker, write


def test_what_became_confidential_is_masked_in_what_is_stored(store: LogStore) -> None:
    write(store, ("stdout", b"a hunter2 b "), ("stderr", b"clean"), ("stdout", b"hunter2hun"), ("stdout", b"ter2 c"))
    before = store.frames(ID)
    told = store.redact(ID, masker("hunter2"))
    assert told == [Redaction(stream="stdout", marks=2, offset=2)]
    assert store.read(ID, "stdout") == b"a *** b *** c"
    assert store.read(ID, "stderr") == b"clean"
    after = store.frames(ID)
    assert [frame.position for frame in after] == [frame.position for frame in before]
    assert [(frame.stream, frame.offset, frame.data) for frame in after] == [
        ("stdout", 0, b"a *** b "),
        ("stderr", 0, b"clean"),
        ("stdout", 8, b"***"),
        ("stdout", 11, b" c"),
    ]
    assert store.redact(ID, masker("hunter2")) == told, "who was killed before he could tell it asks again"
    assert store.frames(ID) == after


def test_what_was_masked_afterwards_is_told_in_one(lives: Reopen) -> None:
    write(lives(), ("stdout", b"a hunter2 b secret99"), ("stderr", b"hunter2"))
    both = [Redaction(stream="stdout", marks=1, offset=2), Redaction(stream="stderr", marks=1, offset=0)]
    assert lives().redact(ID, masker("hunter2")) == both
    more = [Redaction(stream="stdout", marks=2, offset=2), both[1]]
    assert lives().redact(ID, masker("secret99")) == more
    assert lives().redact(ID, masker()) == more
    write(lives(), ("stdout", b"!"))
    assert lives().redact(ID, masker()) == more
    assert lives().read(ID, "stdout") == b"a *** b ***!"


def test_readers_go_on_behind_their_position_after_a_redaction(store: LogStore) -> None:
    write(store, *[("stdout", b"%d hunter2\n" % number) for number in range(20)])
    seen = list(store.frames(ID, limit_bytes=100))
    assert 0 < len(seen) < 20
    assert store.read(ID, "stdout", 42, 5) == b"hunte"
    store.redact(ID, masker("hunter2"))
    rest = store.frames(ID, seen[-1].position)
    assert [frame.data for frame in rest] == [b"%d ***\n" % number for number in range(len(seen), 20)]
    whole = b"".join(b"%d ***\n" % number for number in range(20))
    for offset in range(len(whole) + 1):
        assert store.read(ID, "stdout", offset, 7) == whole[offset : offset + 7]


def test_a_value_that_was_written_byte_by_byte_leaves_nothing_of_it(store: LogStore) -> None:
    write(store, *[("stdout", bytes([byte])) for byte in b"-hunter2-"])
    assert store.redact(ID, masker("hunter2")) == [Redaction(stream="stdout", marks=1, offset=1)]
    assert store.read(ID, "stdout") == b"-***-"
    assert [frame.data for frame in store.frames(ID)] == [b"-", b"*", b"*", b"*", b"-"]
    assert b"".join(store.read(ID, "stdout", offset, 1) for offset in range(9)) == b"-***-"


def test_a_redacted_log_is_continued(store: LogStore) -> None:
    write(store, ("stdout", b"hunter2"), ("stderr", b"hunter2"))
    sink = store.open(ID, masker())
    sink.write("stdout", b"!")
    assert [redaction.stream for redaction in store.redact(ID, masker("hunter2"))] == ["stdout", "stderr"]
    sink.write("stdout", b"more")
    sink.write("stderr", b"more")
    sink.close()
    write(store, ("stdout", b"again"))
    assert store.read(ID, "stdout") == b"***!moreagain"
    assert store.read(ID, "stderr") == b"***more"
    assert [frame.offset for frame in store.frames(ID) if frame.stream == "stdout"] == [0, 3, 4, 8]


def test_nothing_to_redact(store: LogStore) -> None:
    assert store.redact(ID, masker("hunter2")) == []
    write(store, ("stdout", b"nothing"))
    assert store.redact(ID, masker("hunter2")) == []
    assert store.redact(ID, masker()) == []
    assert store.read(ID, "stdout") == b"nothing"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("abx", min_size=1, max_size=9).map(str.encode)),
        max_size=20,
    ),
    needles=st.lists(st.text("ab", min_size=4, max_size=12).filter(lambda text: len(set(text)) > 1), max_size=3),
    number=st.integers(0, 1 << 40),
)
def test_a_redaction_is_what_masking_at_once_would_have_been(
    store: LogStore, pieces: list[tuple[Stream, bytes]], needles: list[str], number: int
) -> None:
    late, early = (AttemptId("property", f"{name}{number}", 1) for name in ("late", "early"))
    store.delete_group("property")
    for id, mask in ((late, masker()), (early, masker(*needles))):
        sink = store.open(id, mask)
        for stream, data in pieces:
            sink.write(stream, data)
        sink.close()
    told = {redaction.stream: redaction for redaction in store.redact(late, masker(*needles))}
    for stream in STREAMS:
        expected = store.read(early, stream)
        assert store.read(late, stream) == expected
        assert expected.count(b"***") == (told[stream].marks if stream in told else 0)
        assert expected.find(b"***") == (told[stream].offset if stream in told else -1)
        offset = 0
        for frame in store.frames(late):
            if frame.stream == stream:
                assert frame.offset == offset
                offset += len(frame.data)


def test_a_redaction_keeps_the_gap_right(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    whole = b"".join(b"hunter2 is at %08d\n" % number for number in range(20_000))
    for start in range(0, len(whole), 999):
        sink.write("stdout", whole[start : start + 999])
    sink.write("stderr", b"clean")
    [gap] = store.gaps(ID)
    positions = [frame.position for frame in store.frames(ID, limit_bytes=1 << 30)]
    [told] = store.redact(ID, masker("hunter2"))
    [now] = store.gaps(ID)
    assert now.bytes == gap.bytes
    assert now.offset < gap.offset
    assert told.offset == 0
    head, tail = store.read(ID, "stdout", 0, 1 << 20), store.read(ID, "stdout", now.offset + now.bytes, 1 << 20)
    assert head == whole[: gap.offset].replace(b"hunter2", b"***")[: len(head)]
    assert whole.replace(b"hunter2", b"***").endswith(tail)
    assert (head + tail).count(b"***") == told.marks
    frames = store.frames(ID, limit_bytes=1 << 30)
    assert {frame.position for frame in frames} <= set(positions)
    assert [frame.missing for frame in frames if frame.missing] == [now.bytes]
    assert store.redact(ID, masker("hunter2")) == [told]
    sink.write("stdout", b"more")
    assert store.frames(ID, positions[-1])[-1].offset == now.offset + now.bytes + len(tail)
    for _ in range(200):
        sink.write("stdout", b"y" * 999)
    sink.close()
    later = store.gaps(ID)[0]
    assert later.offset == now.offset
    assert later.bytes > now.bytes
    assert set(store.read(ID, "stdout", later.offset + later.bytes, 1 << 20)) == {ord("y")}


SECRET = "Tr0ub4dor&3-correct-horse"


@pytest.mark.parametrize("shift", range(0, 40, 3))
def test_what_a_gap_has_left_of_a_value_is_masked(store: LogStore, shift: int) -> None:
    """Nothing else would find it: its other part is gone."""
    sink = store.open(ID, masker())
    sink.limit(LIMIT)
    secret = SECRET.encode()
    whole = b"." * shift + (secret + b"\n") * 8000
    sink.write("stdout", whole)
    sink.close()
    [gap] = store.gaps(ID)
    store.redact(ID, masker(SECRET))
    [now] = store.gaps(ID)
    head, tail = store.read(ID, "stdout", 0, LIMIT), store.read(ID, "stdout", now.offset + now.bytes, LIMIT)
    left = (gap.offset - shift) % (len(secret) + 1)
    over = (-(gap.offset + gap.bytes - shift)) % (len(secret) + 1)
    assert head.endswith(b"***" if left >= 4 else b"\n" + secret[:left])
    assert tail.startswith(b"***" if over >= 5 else secret[len(secret) - max(0, over - 1) :] + b"\n")
    for size in range(4, len(secret)):
        assert secret[:size] not in head
        assert secret[-size:] not in tail
