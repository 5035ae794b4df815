"""What the judge lets pass, and what it does not, of the log of an attempt whose supervisor was killed."""

from __future__ import annotations

import pytest

from tests.chaos import comparison
from tests.chaos.scene import ASKED, INPUTS, hidden

CERTIFICATE = INPUTS["certificate"].encode()


def test_of_a_secret_that_is_not_whole_its_lines_are_masked_all_the_same() -> None:
    """Supervisors killed, seed 22: `-----END KEY` was the last that was said of a certificate."""
    begun = b"before " + hidden(CERTIFICATE[:-5])
    assert begun.count(b"***") == 2
    wanted = b"before *** behind"
    assert comparison.difference(begun, wanted, partly=True) is None
    assert comparison.difference(begun, wanted, partly=False) is not None
    shown = b"before " + CERTIFICATE[:-5].replace(b"LMN3KJIHG4FEDCBA", b"***")
    assert comparison.difference(shown, wanted, partly=True) is not None, "a whole line is one"


def test_what_was_cut_may_begin_like_what_is_due_in_its_place() -> None:
    """Supervisors killed, seed 206: a certificate, and behind it some dashes, which a certificate begins with as well."""
    begun = hidden(CERTIFICATE[:-3])
    wanted = b"text ***---and more"
    assert comparison.difference(b"text ***" + begun, wanted, partly=True) is None
    assert comparison.difference(b"text ***" + begun, wanted, partly=False) is not None
    assert comparison.difference(b"text ***" + begun + b"x", wanted, partly=True) is not None
    assert comparison.difference(b"texx ***" + begun, wanted, partly=True) is not None, "what stands before is another"


@pytest.mark.parametrize("told", [4, 10])
def test_of_a_value_that_it_has_asked_to_mask_only_the_beginning_was_told(told: int) -> None:
    """Both killed, seed 239: `::add-mask::ASKE` was its last word, so that is what is masked."""
    shown = f"first ***{ASKED[told:]}\n".encode()
    assert comparison.as_if_known(shown, asked=True) == b"first ***\n"
    assert comparison.as_if_known(f"first {ASKED}\n".encode(), asked=True) == f"first {ASKED}\n".encode()
