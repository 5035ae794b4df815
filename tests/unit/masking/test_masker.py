from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.masking import MARK, Masker
from runner.masking.masker import COMMANDED_EACH, MOST_COMMANDED

# Few letters, so that needles overlap, repeat and begin one another.
texts = st.text("ab", min_size=4, max_size=7)


def _masker(*needles: str) -> Masker:
    masker = Masker()
    for needle in needles:
        assert masker.add(needle)
    return masker


def _masked(masker: Masker, *writes: bytes) -> bytes:
    stream = masker.stream()
    return b"".join([stream.feed(data) for data in writes] + [stream.flush()])


@given(st.lists(texts, min_size=1, max_size=4), st.text("abc", max_size=40), st.data())
def test_where_writes_are_cut_changes_nothing_and_no_needle_is_left(
    needles: list[str], text: str, chance: st.DataObject
) -> None:
    masker = _masker(*needles)
    data = text.encode()
    whole = _masked(masker, data)
    cuts = sorted(chance.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert _masked(masker, *pieces) == whole
    assert not any(needle.encode() in whole for needle in needles)


@given(st.lists(texts, min_size=1, max_size=4), st.text("abc", max_size=40))
def test_only_needles_are_masked(needles: list[str], text: str) -> None:
    covered = [False] * len(text)
    for needle in needles:
        for at in range(len(text)):
            if text.startswith(needle, at):
                covered[at : at + len(needle)] = [True] * len(needle)
    expected = ""
    for at, letter in enumerate(text):
        if not covered[at]:
            expected += letter
        elif at == 0 or not covered[at - 1]:
            expected += "***"
    assert _masked(_masker(*needles), text.encode()).decode() == expected


def test_what_cannot_be_a_needle_is_not_held() -> None:
    stream = _masker("hunter2").stream()
    assert stream.feed(b"password: ") == b"password: "
    assert stream.feed(b"hunt") == b""
    assert stream.feed(b"ing\n") == b"hunting\n"


def test_a_needle_that_is_added_late_masks_what_comes_after() -> None:
    masker = Masker()
    stream = masker.stream()
    assert stream.feed(b"hunter2 ") == b"hunter2 "
    masker.add("hunter2")
    assert stream.feed(b"hunter2 ") + stream.flush() == MARK + b" "


def test_bytes_that_are_no_text_pass_unchanged() -> None:
    assert _masked(_masker("hunter2"), b"\xff\x00\xfe", b"hunter2\xff") == b"\xff\x00\xfe" + MARK + b"\xff"


@pytest.mark.parametrize("text", ["", "abc", "  a  ", "true", "FALSE", "null", "None"])
def test_short_and_common_values_are_refused(text: str) -> None:
    masker = Masker()
    assert not masker.add(text)
    assert masker.mask("abc true null") == "abc true null"


def test_white_space_around_a_value_does_not_hide_it() -> None:
    masker = _masker("hunter2\n")
    assert masker.mask("it is hunter2.") == "it is ***."
    assert masker.contains("xhunter2x")
    assert not masker.contains("hunter")


def test_a_needle_of_a_megabyte_is_no_burden() -> None:
    secret = random.Random(1).randbytes(1 << 19).hex()
    masker = _masker(secret)
    stream = masker.stream()
    begun = secret[: 1 << 18].encode()
    assert stream.feed(b"x" + begun) == b"x"
    assert stream.feed(b"!") == begun + b"!"
    assert stream.feed(begun) + stream.feed(secret[1 << 18 :].encode()) + stream.flush() == MARK


def test_a_needle_that_is_added_late_masks_what_is_held_as_well() -> None:
    masker = _masker("hunter2")
    stream = masker.stream()
    assert stream.feed(b"x hunt") == b"x "
    masker.add("unterholz")
    assert stream.feed(b"erholz y") + stream.flush() == b"h*** y"


def test_adding_one_by_one_is_the_same_as_adding_at_once() -> None:
    values = [f"v{number:02}lue" for number in range(40)]
    masker = Masker()
    for number, value in enumerate(values):
        assert masker.add(value)
        assert masker.add(value)
        assert masker.count == number + 1
        assert masker.mask(" ".join(values)) == " ".join(["***"] * (number + 1) + values[number + 1 :])
    assert len(masker._layers) < 8


def test_a_task_asks_to_mask_so_many_short_values_or_so_much_of_long_ones() -> None:
    short, long = Masker(), Masker()
    assert sum(short.command(f"value-{number}") for number in range(20_000)) == pytest.approx(15_500, abs=700)
    size = (64 << 10) - COMMANDED_EACH
    assert sum(long.command(f"{number:04}".ljust(size, "x")) for number in range(100)) == (4 << 20) // (64 << 10)


def test_a_task_asks_to_mask_so_much_and_no_more() -> None:
    masker = Masker()
    refused: list[str | None] = []
    masker.on_refused = refused.append
    size = MOST_COMMANDED // 64
    values = [f"{number:04}".ljust(size, "x") for number in range(65)]
    kept = [masker.command(value) for value in values]
    assert kept.count(False) == len(refused)
    assert kept == sorted(kept, reverse=True)
    assert 50 < sum(kept) < len(values)
    count = masker.count
    assert masker.command(values[0])  # it is known, and costs nothing
    assert not masker.command(None)
    assert set(refused) == {None}
    assert masker.mask(values[0]) == "***"
    assert masker.mask(values[-1]) == values[-1]
    assert masker.add(values[-1])  # what the runner itself adds is no affair of the task's
    assert masker.count == count + 1


def test_what_cannot_be_masked_is_remembered_within_the_same_bounds() -> None:
    masker = Masker()
    refused: list[str | None] = []
    masker.on_refused = refused.append
    assert all(masker.command("ab") for _ in range(2 * MOST_COMMANDED // COMMANDED_EACH))
    assert set(refused) == {"ab"}
    assert not all(masker.command("-" * number) for number in range(1, 4000))
    assert not masker.active


def test_copies_go_their_own_ways_and_share_what_was_prepared() -> None:
    common = _masker("common value")
    one, other = common.copy(), common.copy()
    one.add("only in one")
    assert one.mask("common value, only in one") == "***, ***"
    assert other.mask("common value, only in one") == common.mask("common value, only in one") == "***, only in one"
    other.add("only in one")
    assert other.contains("b25seSBpbiBvbm")
    assert one.contains("b25seSBpbiBvbm")
    assert one._layers[-1].matcher is other._layers[-1].matcher


def test_who_has_nothing_to_hide_does_not_pay_for_it() -> None:
    code = (
        "import sys; from runner.masking import Masker; m = Masker(); s = m.stream(); s.feed(b'x'); m.mask('x');"
        "m.contains('x'); sys.exit('ahocorasick_rs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_at_the_end_of_a_text_that_was_cut_the_beginning_of_a_value_is_one() -> None:
    masker = Masker()
    assert masker.add("a-very-long-password")
    assert masker.mask_cut("a-very-long-pas") == "***"
    assert masker.mask_cut("x a-very") == "x ***"
    assert masker.mask_cut("a-very-long-password!") == "***!"
    assert masker.mask_cut("python3 a-v") == "python3 a-v"  # too little to be one
    assert Masker().mask_cut("a-very-long-pas") == "a-very-long-pas"
