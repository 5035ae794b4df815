from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from runner.cli.follow import MAX_LINE_BYTES, Follower, Lines
from runner.cli.terminal import Output
from runner.model.event import Event, Kind
from runner.model.log import Frame, Stream
from runner.model.watch import Happening, LogChunk


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def shown(*pieces: bytes) -> bytes:
    lines = Lines(b"t | ")
    return b"".join(lines.feed("stdout", piece) for piece in pieces) + lines.rest()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\ntwo\n", b"t | one\nt | two\n"),
        (b"one\r\ntwo", b"t | one\nt | two\n"),
        (b"10%\r20%\r\n", b"t | 10%\nt | 20%\n"),
        (b"\n\n", b"t | \nt | \n"),
        (b"", b""),
        (b"end\r", b"t | end\n"),
        ("é\nü".encode(), "t | é\nt | ü\n".encode()),
    ],
)
def test_lines_are_the_same_wherever_writes_are_cut(data: bytes, text: bytes) -> None:
    assert shown(data) == text
    assert shown(*(data[at : at + 1] for at in range(len(data)))) == text


def test_random_cuts() -> None:
    chance = random.Random(7)
    for _ in range(200):
        data = bytes(chance.choice(b"ab\r\n\x1b\xc2\x85[m") for _ in range(30))
        assert shown(*cut(data, [chance.randrange(5) for _ in range(10)])) == shown(data)


def test_streams_do_not_mix() -> None:
    lines = Lines(b"t | ")
    assert (
        lines.feed("stdout", b"o") + lines.feed("stderr", b"e\n") + lines.feed("stdout", b"!\n") == b"t | e\nt | o!\n"
    )


def test_a_line_without_end_is_shown_in_pieces() -> None:
    lines = Lines(b"t | ")
    piece = b"x" * 10_000
    said = b"".join(lines.feed("stdout", piece) for _ in range(100)) + lines.rest()
    assert said.count(b"x") == 1_000_000
    assert max(len(line) for line in said.splitlines()) <= MAX_LINE_BYTES + 10_000 + len(b"t | ")


def chunk(stream: Stream, offset: int, data: bytes, missing: int = 0) -> LogChunk:
    frame = Frame(stream=stream, offset=offset, data=data, at=0.0, position=0, missing=missing)
    return LogChunk(task="t", attempt=1, frame=frame)


def event(kind: Kind, at: float = 1.0, **fields: Any) -> Event:
    return Event(group="g", number=1, at=at, kind=kind, task="t", attempt=1, fields=fields)


async def told(*batches: Sequence[Happening], events: bool = True, other: str = "other") -> list[str]:
    """The lines that a story is shown as, of a task `t` beside an `other`."""
    reader, writer = os.pipe()

    async def story() -> AsyncIterator[Sequence[Happening]]:
        for batch in batches:
            yield batch

    try:
        await Follower(["t", other], Output(writer), events=events).show(story())
        return os.read(reader, 1 << 16).decode().splitlines()
    finally:
        os.close(reader)
        os.close(writer)


STORY: tuple[Sequence[Happening], ...] = (
    [event(Kind.TASK_STARTED), chunk("stdout", 0, b"one\ntw"), chunk("stderr", 0, b"err")],
    [chunk("stdout", 6, b"o\n"), chunk("stdout", 30, b"late\n", missing=22)],
    [event(Kind.TASK_FINISHED, at=1.5, status="failed", exit_code=3)],
)


async def test_a_story_is_told_in_lines() -> None:
    assert await told(*STORY) == [
        "t     -- started",
        "t      | one",
        "t      | two",
        "t     -- … 22 bytes of stdout are not kept …",
        "t      | late",
        "t      | err",
        "t     -- failed after 500 ms: exit code 3",
    ]


@pytest.mark.parametrize(("longest", "width"), [(40, 40), (41, 1)])
async def test_names_stand_in_a_column_that_one_which_is_very_long_does_not_widen(longest: int, width: int) -> None:
    assert await told(STORY[2], other="x" * longest) == [f"{'t':{width}} -- failed: exit code 3"]


async def test_what_is_printed_is_shown_alone_where_that_is_wanted() -> None:
    assert [line for line in await told(*STORY, events=False) if " -- " in line] == [
        "t     -- … 22 bytes of stdout are not kept …"
    ]


async def test_what_has_no_end_is_shown_at_last() -> None:
    assert await told(STORY[0]) == ["t     -- started", "t      | one", "t      | tw", "t      | err"]


@pytest.mark.parametrize("size", [4, 30])
async def test_the_end_of_a_stream_that_is_not_kept_is_told_of(size: int) -> None:
    """To whoever has not seen it, where the warning of the event is not shown."""
    gap = event(Kind.LOG_GAP, stream="stdout", offset=6, bytes=size)
    lines = await told(STORY[0], [gap, chunk("stdout", 6, b"o\nmore")], STORY[2], events=False)
    notes = [f"t     -- … {size - 6} bytes of stdout are not kept …"] if size > 6 else []
    assert lines == ["t      | one", "t      | two", "t      | more", *notes, "t      | err"]
