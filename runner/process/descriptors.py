"""How many files this process may have open: as many as the system lets it. What it starts gets the limit that it was started
with itself, for there are programs that walk through all descriptors that they could have."""

from __future__ import annotations

import resource
from contextlib import suppress

STARTED_WITH = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def use_all() -> None:
    """Raise the soft limit, for good. Each task that prints takes three: two pipes and a log."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system that shows no limit and has one: it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
