"""For which span a caller asks for something."""

from __future__ import annotations

from runner.config import machine
from runner.model import trace


def metadata(traceparent: str | None) -> tuple[tuple[str, str], ...]:
    """As a call sends it; None is that of the environment. Nothing for one that is none: it is nobody's fault, and no reason to refuse anything."""
    checked = trace.checked(machine.traceparent() if traceparent is None else traceparent)
    return ((trace.NAME, checked),) if checked else ()
