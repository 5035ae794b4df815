"""`::add-mask::` lines about as long as what is kept of one: wherever writes are cut, the same becomes of them."""

from __future__ import annotations

import pytest

from runner.masking import Masker
from runner.masking.commands import LONGEST_COMMAND_BYTES, MaskCommands

HEAD = b"::add-mask::"


def shown(data: bytes, size: int) -> tuple[bytes, list[bool]]:
    """What is shown of `data` when it comes in pieces of so many bytes, and for each value whether it was too long."""
    asked: list[bool] = []
    masker = Masker()

    def register(text: str | None) -> None:
        asked.append(text is None)
        masker.command(text)

    commands, stream = MaskCommands(register), masker.stream()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    said = [stream.feed(piece) for written in pieces for piece in commands.feed(written)]
    said += [stream.feed(piece) for piece in commands.feed(b"", final=True)]
    return b"".join([*said, stream.flush()]), asked


@pytest.mark.parametrize("more", [-1, 0, 1, 1000])
@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "cut off"])
def test_a_value_about_as_long_as_what_is_kept(more: int, end: bytes) -> None:
    value = b"v" * (LONGEST_COMMAND_BYTES - len(HEAD) + more)
    data = b"before\n" + HEAD + value + end
    expected = b"before\n" + HEAD + b"***" + end
    if end:
        data += b"<" + value + b">"
        expected += b"<" + (value if more > 0 else b"***") + b">"
    for size in (len(data), 256 << 10, 1 << 12, 1021):
        assert shown(data, size) == (expected, [more > 0])


@pytest.mark.parametrize("more", [-1, 0, 1, 1000])
def test_a_command_whose_value_begins_late(more: int) -> None:
    """It is one as far as its beginning is kept."""
    begun = b"::add-mask " + b"p" * (LONGEST_COMMAND_BYTES - 13 + more) + b"::"
    data = begun + b"value\n"
    expected = data if more > 0 else begun + b"***\n"
    for size in (len(data), 1 << 12, 1021):
        assert shown(data, size) == (expected, [] if more > 0 else [True])
