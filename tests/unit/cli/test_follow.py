from __future__ import annotations

import random

import pytest

from runner.cli.follow import MAX_LINE_BYTES, Lines


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
