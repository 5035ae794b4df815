"""The framing between runner and supervisor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.process.supervisor import wire

TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)
MESSAGES = st.lists(st.dictionaries(TEXT, TEXT | st.none() | st.integers() | st.lists(TEXT)), max_size=6)


@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 40)))
def test_messages_survive_any_cut(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    data = b"".join(map(wire.encode, messages))
    decoder = wire.Decoder()
    decoded = []
    for size in [*cuts, len(data)]:
        decoded += decoder.feed(data[:size])
        data = data[size:]
    assert decoded == messages


@pytest.mark.parametrize(
    "data", [b"\x7f\xff\xff\xff", b"\0\0\0\1x", b"\0\0\0\4null", b"\0\0\0\2\xff\xff", b"\0\1\0\0" + b"[" * 65536]
)
def test_what_is_not_the_protocol(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.Decoder().feed(data)
