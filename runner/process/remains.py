"""Ending what a supervisor that died has left behind."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runner.process.supervisor import cgroups, processes
from runner.process.supervisor.processes import Process
from runner.process.supervisor.purge import BOUND_SECONDS, PAUSE_SECONDS, QUIET_LOOKS
from runner.process.supervisor.record import MARKER, MOST_NAMED
from runner.process.supervisor.urgency import Urgency

_INCARNATION = re.compile("[0-9a-f]{32}")


LONGEST_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 0.1


def end(incarnation: str) -> Mapping[str, Any] | None:
    """Kill all processes that carry a mark of this life of a supervisor or are in one of its control groups, and their
    descendants; a kill report, None when there were none. Blocks, for a minute at most, and no longer than
    five seconds in which none comes to its end and none is new."""
    if not _INCARNATION.fullmatch(incarnation):
        return None
    struck: set[int] = set()
    left: list[Process] = []
    rooms = cgroups.former(incarnation)
    # The main thread too: whoever holds Python's lock must not be the one that waits for the processor.
    urgency = Urgency(0, os.getpid())
    # At once: of a storm of forks the first look would else come by little for many seconds, and it is seldom that a supervisor dies.
    urgency.begin()
    quiet = 0
    began = moved = time.monotonic()
    try:
        while quiet < QUIET_LOOKS and (now := time.monotonic()) < min(moved + BOUND_SECONDS, began + LONGEST_SECONDS):
            before = {process.pid for process in left}
            left = _strike(incarnation, rooms)
            pids = {process.pid for process in left}
            if pids != before:
                moved = time.monotonic()
                struck |= pids
            quiet = 0 if left else quiet + 1
            # Those that were killed need the processor as well, to end.
            time.sleep(min(PAUSE_SECONDS + time.monotonic() - now, LONGEST_PAUSE_SECONDS))
    finally:
        urgency.end()
    for room in rooms:
        room.remove()
    if not struck:
        return None
    return {
        "signals": [["SIGKILL", 0.0]],
        "containment": MARKER,
        "leftovers": len(struck),
        "left": [process.described() for process in left[:MOST_NAMED]],
    }


def _strike(incarnation: str, rooms: Sequence[cgroups.Folder]) -> list[Process]:
    """One look, and the end of what it finds."""
    found = list(processes.members(lambda process: processes.mark_of(process.pid, incarnation), processes.halt))
    processes.kill(found)
    known = {process.pid for process in found}
    for room in rooms:
        found += [process for pid in room.pids() if pid not in known and (process := processes.read(pid))]
        room.kill()
    return found
