"""The trace of a group: which ids it and its attempts have in it, as W3C's Trace Context has them.

All of it follows from what is recorded with the group, so that two lives of a runner tell of one and the same span, and nothing has
to be kept for it.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

from runner.clock import Moment

NAME = "traceparent"
"""Of the metadata of a call."""

VARIABLE = "TRACEPARENT"
"""Of the environment."""

SAMPLED = 0x01
_KNOWN_VERSION_CHARS = 55
_LONGEST_CHARS = 512
_GRAMMAR = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[!-~]*)?")


class Parent(Struct, frozen=True, kw_only=True):
    """The span of somebody else, for whom something is done. Ids are hexadecimal: 32 and 16 digits."""

    trace_id: str
    span_id: str
    flags: int


def parse(traceparent: str) -> Parent | None:
    """None for what is not of W3C's grammar, which is to be ignored. Later versions may have more behind what is known."""
    found = _GRAMMAR.fullmatch(traceparent) if len(traceparent) <= _LONGEST_CHARS else None
    if found is None or found[1] == "ff" or not found[2].strip("0") or not found[3].strip("0"):
        return None
    if found[1] == "00" and len(traceparent) != _KNOWN_VERSION_CHARS:
        return None
    return Parent(trace_id=found[2], span_id=found[3], flags=int(found[4], 16))


def checked(traceparent: str) -> str:
    """It, as version 00 spells it, or nothing."""
    parent = parse(traceparent)
    return "" if parent is None else _spell(parent.trace_id, parent.span_id, parent.flags)


def _spell(trace_id: str, span_id: str, flags: int) -> str:
    return f"00-{trace_id}-{span_id}-{flags & SAMPLED:02x}"


class Trace(Struct, frozen=True):
    """Of the group `group`, accepted at a moment that no other group of that id was accepted at, for `parent` or on its own."""

    group: str
    accepted: Moment
    parent: Parent | None = None

    @property
    def id(self) -> str:
        return self.parent.trace_id if self.parent else self._derived("trace", digits=32)

    @property
    def span(self) -> str:
        """Of the group."""
        return self._derived("group")

    @property
    def is_sampled(self) -> bool:
        """Whether anybody wants to see it: the parent decides, where there is one."""
        return self.parent is None or bool(self.parent.flags & SAMPLED)

    def attempt(self, task: str, number: int) -> str:
        """The span of an attempt."""
        return self._derived("attempt", task, str(number))

    def traceparent(self, task: str, number: int) -> str:
        """What the attempt passes on to whatever it calls."""
        return _spell(self.id, self.attempt(task, number), SAMPLED if self.is_sampled else 0)

    def _derived(self, *what: str, digits: int = 16) -> str:
        seed = "\0".join((self.group, repr(self.accepted.wall), repr(self.accepted.boot), self.accepted.boot_id, *what))
        return hashlib.sha256(seed.encode()).hexdigest()[:digits]


def of(group: str, accepted: Moment, traceparent: str) -> Trace:
    """`traceparent` as it was `checked`."""
    return Trace(group, accepted, parse(traceparent) if traceparent else None)
