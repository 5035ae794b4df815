"""What of W3C's Trace Context is understood, and which ids a group has in its trace."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from runner.clock import Moment
from runner.model import trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
ACCEPTED = Moment(1e9, 5.0, "boot")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", GOOD),  # of flags that nobody knows none is passed on
        (f"cc-{TRACE}-{SPAN}-01", GOOD),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", GOOD),
    ],
)
def test_what_is_a_traceparent(text: str, spelled: str) -> None:
    assert trace.checked(text) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"{GOOD}-more",
        f"{GOOD}-",
        f"{GOOD} ",
        f" {GOOD}",
        f"{GOOD}\n",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        GOOD.upper(),
        GOOD.replace("-", "_"),
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_what_is_none(text: str) -> None:
    assert trace.checked(text) == ""
    assert trace.parse(text) is None


def test_ids_are_the_same_in_every_life_and_differ_otherwise() -> None:
    its = trace.of("g", ACCEPTED, "")
    assert its == trace.of("g", Moment(1e9, 5.0, "boot"), "")
    parsed = trace.parse(its.traceparent("t", 1))
    assert parsed == trace.Parent(trace_id=its.id, span_id=its.attempt("t", 1), flags=1)
    others = [its, trace.of("h", ACCEPTED, ""), trace.of("g", replace(ACCEPTED, boot_id="other"), "")]
    spans = [
        span for one in others for span in (one.span, one.attempt("t", 1), one.attempt("t", 2), one.attempt("u", 1))
    ]
    assert len(set(spans)) == 12
    assert len({one.id for one in others}) == 3


def test_a_parent_gives_the_trace_and_decides_whether_it_is_wanted() -> None:
    its = trace.of("g", ACCEPTED, GOOD)
    assert (its.id, its.is_sampled) == (TRACE, True)
    assert its.span == trace.of("g", ACCEPTED, "").span != SPAN
    unwanted = trace.of("g", ACCEPTED, f"00-{TRACE}-{SPAN}-00")
    assert unwanted.traceparent("t", 1) == f"00-{TRACE}-{unwanted.attempt('t', 1)}-00"
    assert not unwanted.is_sampled
