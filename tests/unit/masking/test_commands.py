"""`::add-mask::` on a task's output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.masking import Masker
from runner.masking.commands import LONGEST_COMMAND_BYTES, MaskCommands


def masked(*writes: bytes) -> bytes:
    masker = Masker()
    commands, stream = MaskCommands(masker.command), masker.stream()
    said = [stream.feed(piece) for data in writes for piece in commands.feed(data)]
    said += [stream.feed(piece) for piece in commands.feed(b"", final=True)]
    return b"".join([*said, stream.flush()])


CASES: dict[bytes, bytes] = {
    b"::add-mask::hunter2\nit is hunter2\n": b"::add-mask::***\nit is ***\n",
    b"hunter2 \n  \t::add-mask::hunter2\nhunter2": b"hunter2 \n  \t::add-mask::***\n***",
    b"::add-mask::hunter2": b"::add-mask::***",
    b"::add-mask::hunter2\r\nhunter2\r\n": b"::add-mask::***\r\n***\r\n",
    b"::Add-Mask a=b,c=d::hunter2\nhunter2": b"::Add-Mask a=b,c=d::***\n***",
    b"::add-mask::100%25%0A second %0D%0A\n100% second": b"::add-mask::***\n*** ***",
    b"::add-mask::one line%0Aother line\none line, other line": b"::add-mask::***\n***, ***",
    b"::add-mask::ab\nab": b"::add-mask::***\nab",
    b"::add-mask::{%0A}%0A----\n{ } ----": b"::add-mask::***\n{ } ----",
    b"::add-mask::a1b2c3\n::add-mask::d4e5f6\nd4e5f6": b"::add-mask::***\n::add-mask::***\n***",
    b"::add-mask::hunter2\n::add-mask::hunter2\n": b"::add-mask::***\n::add-mask::***\n",
    # These are no commands.
    b"say ::add-mask::hunter2\nhunter2": b"say ::add-mask::hunter2\nhunter2",
    b"::add-mask\n::add-masks::hunter2\nhunter2": b"::add-mask\n::add-masks::hunter2\nhunter2",
    b"::add-mask::\n::add-mask:hunter2\nhunter2": b"::add-mask::\n::add-mask:hunter2\nhunter2",
    b"::add-mask x=y\nhunter2": b"::add-mask x=y\nhunter2",
    b"::debug::add-mask::hunter2\nhunter2": b"::debug::add-mask::hunter2\nhunter2",
    b"::::add-mask::hunter2\nhunter2": b"::::add-mask::hunter2\nhunter2",
    b"  ::  \n:\n::\n::add": b"  ::  \n:\n::\n::add",
}


@pytest.mark.parametrize(("data", "expected"), CASES.items(), ids=repr)
def test_every_split(data: bytes, expected: bytes) -> None:
    assert masked(data) == expected
    for cut in range(len(data) + 1):
        assert masked(data[:cut], data[cut:]) == expected
    assert masked(*(data[at : at + 1] for at in range(len(data)))) == expected


tokens = st.sampled_from(
    [b"::add-mask::", b"hunter2", b"\n", b"\r", b" ", b"::", b":", b"::add-mask x", b"add", b"%0A", b"ab"]
)


@given(st.lists(tokens, max_size=14).map(b"".join), st.data())
def test_where_writes_are_cut_changes_nothing(data: bytes, chance: st.DataObject) -> None:
    cuts = sorted(chance.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    assert masked(*(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))) == masked(data)


def test_many_commands_become_few_pieces() -> None:
    """A masker prepares itself anew for a piece behind a new value."""
    values: list[str | None] = []
    data = b"".join(b"::add-mask::value-%03d\n" % number for number in range(200))
    pieces = list(MaskCommands(values.append).feed(b"x\n" + data + b"y"))
    assert b"".join(pieces) == b"x\n" + b"::add-mask::***\n" * 200 + b"y"
    assert len(values) == 200
    assert len(pieces) < 4


@pytest.mark.parametrize("value", [b"add-mask", b"::add-mask::", b"***%0A::add", b"Add-Mask"])
def test_a_command_hides_nothing_of_those_before_it(value: bytes) -> None:
    lines = b"::add-mask::hunter2\n  ::Add-Mask x::hunter3\n"
    shown = masked(lines + b"::add-mask::" + value + b"\n")
    assert shown.startswith(lines.replace(b"hunter2", b"***").replace(b"hunter3", b"***"))


def test_what_cannot_be_a_command_is_not_held() -> None:
    commands = MaskCommands(lambda text: None)
    assert b"".join(commands.feed(b"a::add-ma")) == b"a::add-ma"
    assert b"".join(commands.feed(b"\n  ::add-ma")) == b"\n  "
    assert b"".join(commands.feed(b"p\n")) == b"::add-map\n"
    assert b"".join(commands.feed(b"   ")) == b"   "


def test_bytes_that_are_no_text_can_be_masked() -> None:
    assert masked(b"::add-mask::\xff\xfe\x00\x01z\n<\xff\xfe\x00\x01z>") == b"::add-mask::***\n<***>"


def test_a_line_that_is_too_long_is_not_shown_and_said_so() -> None:
    refused: list[str | None] = []
    masker = Masker()
    masker.on_refused = refused.append
    commands = MaskCommands(masker.command)
    said = b"".join(
        piece
        for _ in range(LONGEST_COMMAND_BYTES // 512)
        for piece in commands.feed(b"::add-mask::" if not _ else b"x" * 1024)
    )
    assert said == b"::add-mask::***"
    assert b"".join(commands.feed(b"xxx\nnext\n")) == b"\nnext\n"
    assert refused == [None]
    assert not masker.active


def test_a_value_that_cannot_be_masked_is_told() -> None:
    refused: list[str | None] = []
    masker = Masker()
    masker.on_refused = refused.append
    assert b"".join(MaskCommands(masker.command).feed(b"::add-mask::abc\nabc\n")) == b"::add-mask::***\nabc\n"
    assert refused == ["abc"]
