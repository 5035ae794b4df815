"""The contract of `runner.logs.base.LogStore`, over every implementation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.errors import LogGapError
from runner.logs.base import LogStore
from runner.logs.files import FileLogStore
from runner.logs.memory import MemoryLogStore
from runner.logs.sink import CallSoon
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Redaction, Stream
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()

STORES: dict[str, Callable[[Path, CallSoon], LogStore]] = {
    "memory": lambda folder, call_soon: MemoryLogStore(now=lambda: 12.5, call_soon=call_soon),
    "files": lambda folder, call_soon: FileLogStore(
        folder / "logs", now=lambda: 12.5, call_soon=call_soon, sealer=SEALER
    ),
}


class Loop:
    """A loop whose turns the test decides on."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def turn(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop) -> Iterator[LogStore]:
    opened = STORES[request.param](tmp_path, loop.call_soon)
    yield opened
    opened.close()
    opened.close()


def masker(*needles: str) -> Masker:
    made = Masker()
    for needle in needles:
        assert made.add(needle)
    return made


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


def test_secrets_are_masked_across_writes_and_streams_apart(store: LogStore) -> None:
    sink = store.open(ID, masker("hunter2"))
    for piece in (b"pass=hun", b"ter", b"2; hun"):
        sink.write("stdout", piece)
        sink.write("stderr", b"ter2")
    sink.close()
    assert store.read(ID, "stdout") == b"pass=***; hun"
    assert store.read(ID, "stderr") == b"ter2" * 3


def test_a_needle_that_comes_later_masks_what_follows(store: LogStore) -> None:
    mask = masker()
    sink = store.open(ID, mask)
    sink.write("stdout", b"hunter2 ")
    mask.add("hunter2")
    sink.write("stdout", b"hunter2")
    sink.close()
    assert store.read(ID, "stdout") == b"hunter2 ***"


def test_nothing_is_taken_after_close(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"a")
    sink.close()
    sink.close()
    sink.write("stdout", b"b")
    assert store.read(ID, "stdout") == b"a"


def test_a_log_is_continued(store: LogStore) -> None:
    for data in (b"first", b"second"):
        sink = store.open(ID, masker())
        sink.write("stdout", data)
        sink.write("stderr", b"e")
        sink.close()
    assert store.read(ID, "stdout") == b"firstsecond"
    assert [(frame.stream, frame.offset) for frame in store.frames(ID)] == [
        ("stdout", 0),
        ("stderr", 0),
        ("stdout", 5),
        ("stderr", 1),
    ]


def test_two_sinks_of_one_log(store: LogStore) -> None:
    one, two = store.open(ID, masker()), store.open(ID, masker())
    one.write("stdout", b"1")
    two.write("stdout", b"2")
    one.close()
    two.write("stdout", b"3")
    two.close()
    assert store.read(ID, "stdout") == b"123"


def test_attempts_are_apart(store: LogStore) -> None:
    ids = [ID, ID._replace(attempt=2), ID._replace(task="other"), ID._replace(group="other")]
    for id in ids:
        sink = store.open(id, masker())
        sink.write("stdout", str(id).encode())
        sink.close()
    assert [store.read(id, "stdout") for id in ids] == [str(id).encode() for id in ids]


@pytest.mark.parametrize(
    "name", ["test[3]", "a.1", "..", ".", "", "a/b", "/etc/passwd", "a\0b", "%2E", "ä" * 128, "x" * 5000, "~", "a\nb"]
)
def test_any_name_is_safe(store: LogStore, tmp_path: Path, name: str) -> None:
    before = set(tmp_path.rglob("*"))
    ids = [AttemptId(name, "t", 1), AttemptId("g", name, 1), AttemptId("g", name + "x", 1), AttemptId(name, name, 1)]
    for number, id in enumerate(ids):
        sink = store.open(id, masker())
        sink.write("stdout", b"%d" % number)
        sink.close()
    assert [store.read(id, "stdout") for id in ids] == [b"0", b"1", b"2", b"3"]
    store.delete_group(name)
    assert [store.read(id, "stdout") for id in ids] == [b"", b"1", b"2", b""]
    made = set(tmp_path.rglob("*")) - before
    assert all(path.relative_to(tmp_path).parts[0] == "logs" for path in made)


def test_what_is_written_is_counted(store: LogStore) -> None:
    assert store.written == 0
    store.open(ID, masker()).write("stdout", b"hello\n")
    assert store.written == 6


def test_subscribers_hear_once_a_turn_and_log(store: LogStore, loop: Loop) -> None:
    heard: list[AttemptId] = []
    unsubscribe = store.subscribe(heard.append)
    sinks = [store.open(ID._replace(attempt=attempt), masker()) for attempt in (1, 2)]
    for _ in range(3):
        for sink in sinks:
            sink.write("stdout", b"x")
    assert heard == []
    loop.turn()
    assert [id.attempt for id in heard] == [1, 2]
    sinks[0].write("stderr", b"x")
    loop.turn()
    assert [id.attempt for id in heard] == [1, 2, 1]
    unsubscribe()
    unsubscribe()
    sinks[0].write("stdout", b"x")
    loop.turn()
    assert len(heard) == 3


def test_what_is_held_back_for_masking_is_no_growth(store: LogStore, loop: Loop) -> None:
    heard: list[AttemptId] = []
    store.subscribe(heard.append)
    sink = store.open(ID, masker("hunter2"))
    sink.write("stdout", b"hun")
    loop.turn()
    assert heard == []
    sink.close()
    loop.turn()
    assert heard == [ID]


def test_a_group_is_deleted_with_its_open_logs(store: LogStore) -> None:
    other = store.open(ID._replace(group="other"), masker())
    other.write("stdout", b"stays")
    sink = store.open(ID, masker())
    sink.write("stdout", b"goes")
    store.delete_group("group")
    store.delete_group("group")
    store.delete_group("never known")
    assert store.read(ID, "stdout") == b""
    assert store.read(ID._replace(group="other"), "stdout") == b"stays"
    sink.close()
    again = store.open(ID, masker())
    again.write("stdout", b"new")
    assert [(frame.offset, frame.data) for frame in store.frames(ID)] == [(0, b"new")]


def test_what_deleted_logs_take_is_given_back(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"x" * 100_000)
    sink.close()
    assert 100_000 <= store.size("group") < 200_000
    assert store.size("never known") == 0
    store.purge()
    assert len(store.read(ID, "stdout")) == 100_000
    store.delete_group("group")
    assert store.size("group") == 0
    again = store.open(ID, masker())
    again.write("stdout", b"new")
    again.close()
    store.purge()
    assert store.read(ID, "stdout") == b"new"


Reopen = Callable[[], LogStore]


@pytest.fixture(params=STORES)
def lives(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop) -> Reopen:
    """Gives the store of each life of a runner that is killed: the same one where it is in memory."""
    if request.param == "files":
        return lambda: STORES["files"](tmp_path, loop.call_soon)
    store = STORES[request.param](tmp_path, loop.call_soon)
    return lambda: store


def test_how_far_the_source_was_taken_is_kept(lives: Reopen) -> None:
    sink = lives().open(ID, masker("hunter2"))
    assert sink.taken("stdout") == 0
    sink.write("stdout", b"by the driver itself\n")
    assert sink.taken("stdout") == 0
    sink.write("stdout", b"abc hun", 7)
    sink.write("stderr", b"x", 1)
    sink.write("stdout", b"and again\n")
    again = lives().open(ID, masker("hunter2"))
    assert (again.taken("stdout"), again.taken("stderr")) == (7, 1)
    again.close()
    assert lives().open(ID, masker("hunter2")).taken("stdout") == 7


def test_a_killed_runner_goes_on_in_the_middle_of_a_needle(lives: Reopen) -> None:
    lives().open(ID, masker("hunter2")).write("stdout", b"pass=hun", 8)
    lives().open(ID, masker("hunter2")).write("stdout", b"ter", 11)
    sink = lives().open(ID, masker("hunter2"))
    assert sink.taken("stdout") == 11
    sink.write("stdout", b"2hunter2; hun", 24)
    sink.close()
    assert lives().read(ID, "stdout") == b"pass=***; hun"


def test_what_the_task_asked_to_mask_is_masked_by_the_next_life(lives: Reopen) -> None:
    lives().open(ID, masker()).write("stderr", b"::add-mask::tok%25en-one\n ::add-mask::tok", 40)
    lives().open(ID, masker()).write("stderr", b"en-two\ntok", 50)
    mask = masker()
    sink = lives().open(ID, mask)
    sink.write("stdout", b"tok%en-one ", 11)
    sink.write("stderr", b"en-two tok%en-one", 67)
    sink.close()
    assert lives().read(ID, "stdout") == b"*** "
    assert lives().read(ID, "stderr") == b"::add-mask::***\n ::add-mask::***\n*** ***"
    assert mask.contains("tok%en-one")
    assert mask.contains("token-two")


OUTPUT = st.lists(
    st.sampled_from(
        [
            b"hunter2",
            b"hunt",
            b"er2",
            b"aab",
            b"aa",
            b"\n",
            b" ",
            b"::add-mask::",
            b"::add-m",
            b"ask::late99",
            b"\r\n",
            b"late99",
        ]
    ),
    max_size=25,
).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(output=OUTPUT, data=st.data())
def test_killed_anywhere_the_bytes_are_those_of_an_undisturbed_run(
    lives: Reopen, output: bytes, data: st.DataObject
) -> None:
    """Each piece is read anew from where the log says, with or without a new life before."""
    undisturbed, disturbed = AttemptId("calm", "task", 1), AttemptId("killed", "task", 1)
    for group in ("calm", "killed"):
        lives().delete_group(group)
    sink = lives().open(undisturbed, masker("hunter2", "aaba", "abaab"))
    sink.write("stdout", output, len(output))
    sink.close()
    sink = lives().open(disturbed, masker("hunter2", "aaba", "abaab"))
    while (at := sink.taken("stdout")) < len(output):
        end = data.draw(st.integers(at + 1, len(output)))
        sink.write("stdout", output[at:end], end)
        if data.draw(st.booleans()):
            sink = lives().open(disturbed, masker("hunter2", "aaba", "abaab"))
    sink.close()
    assert lives().read(disturbed, "stdout") == lives().read(undisturbed, "stdout")


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_in_what_is_held_back_for_long(lives: Reopen, seed: int) -> None:
    """A value and an `::add-mask::` line of many small pieces, of which nothing can be told before the end; also where what is held
    back leaves its beginning bit by bit, and on both streams by turns."""
    needle = "".join(f"{number:03}-" for number in range(400))
    periodic = "ab1-" * 300 + "end"
    asked = "".join(f"{number:04}+" for number in range(300))
    written: dict[Stream, bytes] = {
        "stdout": f"say {needle}; {needle[:900]}|{'ab1-' * 500}{periodic}!".encode(),
        "stderr": f"::add-mask::{asked}\nit is {asked} {periodic[:-2]}".encode(),
    }
    chance = random.Random(seed)
    sink = lives().open(ID, masker(needle, periodic))
    left = dict.fromkeys(STREAMS, True)
    while any(left.values()):
        for stream, output in written.items():
            at = sink.taken(stream)
            for end in range(at + 1, min(at + chance.randint(1, 600), len(output)) + 1):
                sink.write(stream, output[end - 1 : end], end)
            left[stream] = sink.taken(stream) < len(output)
        if chance.random() < 0.5:
            sink = lives().open(ID, masker(needle, periodic))
    assert [sink.taken(stream) for stream in STREAMS] == [len(written[stream]) for stream in STREAMS]
    sink.close()
    assert lives().read(ID, "stdout") == f"say ***; {needle[:900]}|{'ab1-' * 500}***!".encode()
    assert lives().read(ID, "stderr") == f"::add-mask::***\nit is *** {periodic[:-2]}".encode()


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


def write(store: LogStore, *pieces: tuple[Stream, bytes]) -> None:
    sink = store.open(ID, masker())
    for stream, data in pieces:
        sink.write(stream, data)
    sink.close()


def test_a_task_asks_to_mask_a_value_on_either_stream(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"hunter2 ::add-mask::x\n::add-ma")
    sink.write("stderr", b"hunter2\n")
    sink.write("stdout", b"sk::hunter2\nhunter2")
    sink.write("stderr", b"hunter2\n::add-mask::other99")
    sink.close()
    assert store.read(ID, "stdout") == b"hunter2 ::add-mask::x\n::add-mask::***\n***"
    assert store.read(ID, "stderr") == b"hunter2\n***\n::add-mask::***"


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


LIMIT = 64 << 10


def kept(store: LogStore, id: AttemptId = ID) -> int:
    return sum(len(frame.data) for frame in store.frames(id, limit_bytes=1 << 30))


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
