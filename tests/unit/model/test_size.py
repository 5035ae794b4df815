from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model import size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("10B", 10),
        ("512MiB", 512 << 20),
        ("512 MiB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("0.1KiB", 102),
        ("2kB", 2000),
        ("2GB", 2_000_000_000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert size.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a size"),
        ("1.5", "expected a size"),
        ("MiB", "expected a size"),
        ("1e9", "expected a size"),
        ("1  MiB", "expected a size"),
        ("٣MiB", "expected a size"),
        ("-1MiB", "must not be negative"),
        ("512m", "unknown unit 'm'; known are B, KiB"),
        ("512Mib", "unknown unit 'Mib'"),
        ("99999999TiB", "larger than any memory"),
        ("9" * 21, "expected a size"),
    ],
)
def test_what_is_no_size(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        size.parse(text)


@given(st.integers(0, size.LARGEST_BYTES))
def test_what_is_spelt_reads_as_the_same(number: int) -> None:
    assert size.parse(size.spell(number)) == number


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (1, "1"), (4 << 30, "4GiB"), (3 << 29, "1536MiB")])
def test_how_it_is_spelt(number: int, text: str) -> None:
    assert size.spell(number) == text
