from __future__ import annotations

import random

import pytest

from runner.cli.tails import KEPT_BYTES, MOST_FAILURES, Tail, Tails
from runner.cli.terminal import bare_line
from runner.model.event import Event, Kind
from runner.model.log import Frame, Stream
from runner.model.watch import LogChunk


def tail_of(*pieces: tuple[Stream, bytes]) -> Tail:
    tail = Tail()
    for stream, data in pieces:
        tail.feed(stream, data)
    return tail


def test_the_last_lines_of_both_streams() -> None:
    tail = tail_of(("stdout", b"one\ntw"), ("stderr", b"err\n"), ("stdout", b"o\n\n"), ("stderr", b"end"))
    assert tail.lines() == ["one", "err", "two", "end"]
    assert tail.lines(2) == ["two", "end"]
    assert tail.last_line() == "end"
    assert not tail.shortened


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (b"", ""),
        (b"\n \n", ""),
        (b"  deep\n", "deep"),
        (b"done\npart", "part"),
        (b"10%\r20%\r", "20%"),
        (b"10%\r\x1b[K\r\n", "10%"),
        (b"a\r\nb\r\n", "b"),
        (b"x\n\x1b[2K\x1b[1A\x1b[32mgreen\x1b[0m  \n", "green"),
        (b"\x1b]0;title\x07said\n", "said"),
        (b"\x1b]0;no end", "\\x1b]0;no end"),
        (b"a\tb\x07\xc2\x9b1m", "a b\\x07\\x9b1m"),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_last_line_as_text_alone(data: bytes, last: str) -> None:
    assert tail_of(("stdout", data)).last_line() == last


def test_marks_in_heaps_are_few() -> None:
    assert bare_line(("a" + "\u0301" * 50 + "b").encode()) == "a\u0301\u0301b"


def test_it_is_bounded_whatever_comes() -> None:
    chance = random.Random(3)
    tail, streams = Tail(), {"stdout": b"", "stderr": b""}
    for number in range(3000):
        stream: Stream = chance.choice(("stdout", "stderr"))
        data = (b"%d " % number) * chance.randrange(60) + b"\n" * chance.randrange(2)
        tail.feed(stream, data)
        streams[stream] += data
        assert sum(len(piece) for _, piece in tail._pieces) <= KEPT_BYTES
    assert tail.shortened
    ends = {line.rstrip() for data in streams.values() for line in data.decode().split("\n")}
    assert all(line in ends for line in tail.lines()[1:])
    tail.feed("stdout", b"x" * 10 * KEPT_BYTES + b"\nlast")
    assert tail.lines() == ["x" * (KEPT_BYTES - 5), "last"]


def event(kind: Kind, task: str, attempt: int = 1, **fields: object) -> Event:
    return Event(group="g", number=1, at=0.0, kind=kind, task=task, attempt=attempt, fields=fields)


def printed(task: str, data: bytes, attempt: int = 1) -> LogChunk:
    frame = Frame(stream="stdout", offset=0, data=data, at=0.0, position=0)
    return LogChunk(task=task, attempt=attempt, frame=frame)


def test_of_what_failed_the_last_attempt_is_kept() -> None:
    tails = Tails()
    tails.take(printed("a", b"first"))
    tails.take(event(Kind.TASK_RETRYING, "a", status="failed", seconds=0))
    tails.take(printed("a", b"second", attempt=2))
    assert tails.last_line("a", 2) == "second"
    tails.take(event(Kind.TASK_FINISHED, "a", 2, status="failed"))
    tails.take(printed("b", b"fine"))
    tails.take(event(Kind.TASK_FINISHED, "b", status="success"))
    kept = tails.of_failed("a")
    assert kept is not None
    assert kept.lines() == ["second"]
    assert tails.of_failed("b") is None
    assert not tails._running


def test_not_all_that_failed_is_kept() -> None:
    tails = Tails()
    for number in range(MOST_FAILURES + 5):
        tails.take(printed(f"t{number}", b"why"))
        tails.take(event(Kind.TASK_FINISHED, f"t{number}", status="errored"))
    assert sum(tails.of_failed(f"t{number}") is not None for number in range(MOST_FAILURES + 5)) == MOST_FAILURES
    assert not tails._running


@pytest.mark.parametrize("is_over", [False, True])
def test_what_became_secret_is_forgotten(is_over: bool) -> None:
    tails = Tails()
    tails.take(printed("a", b"hush"))
    if is_over:
        tails.take(event(Kind.TASK_FINISHED, "a", status="failed"))
    tails.take(event(Kind.LOG_REDACTED, "a", stream="stdout", marks=1, offset=0))
    if not is_over:
        tails.take(event(Kind.TASK_FINISHED, "a", status="failed"))
    kept = tails.of_failed("a")
    assert kept is not None
    assert kept.lines() == []
    assert kept.last_line() == ""
