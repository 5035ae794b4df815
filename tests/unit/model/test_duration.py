"""Spans of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("1.5", 1.5),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("2m30s", 150.0),
        ("1h", 3600.0),
        ("1h5ms", 3600.005),
        ("7d", 604800.0),
        ("1d2h3m4s5ms", 93784.005),
        ("3650d", duration.LONGEST_SECONDS),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "1 s",
        "1s1m",
        "1h1h",
        ".5s",
        "5.s",
        "1e3",
        "nan",
        "inf",
        "+1",
        "1_0",
        "1S",
        "1w",
        "0x10",
        "1:30",
        "٣",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration such as 90, 1.5s, 2m30s or 1h$"):
        duration.parse(text)


@pytest.mark.parametrize("text", ["-1", "-1s", "-nonsense"])
def test_negative(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must not be negative$"):
        duration.parse(text)


@pytest.mark.parametrize("text", ["3651d", "999999999999999", "999999999999999d"])
def test_too_long(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must not be longer than ten years$"):
        duration.parse(text)


@given(st.text(max_size=12))
def test_any_text_is_a_bounded_number_or_a_value_error(text: str) -> None:
    try:
        seconds = duration.parse(text)
    except ValueError:
        return
    assert 0 <= seconds <= duration.LONGEST_SECONDS


@given(st.one_of(st.integers(0, 10**9).map(lambda count: count / 1000), st.floats(0, 1e5)))
def test_what_is_spelt_reads_as_the_same(seconds: float) -> None:
    assert duration.parse(duration.spell(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (90, "1m30s"), (0.25, "250ms"), (86400, "1d"), (1e-4, "0.000100000s")]
)
def test_how_it_is_spelt(seconds: float, text: str) -> None:
    assert duration.spell(seconds) == text
