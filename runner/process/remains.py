"""Ending what a supervisor that died has left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from runner.process.supervisor import cgroups, processes
from runner.process.supervisor.processes import Process
from runner.process.supervisor.purge import BOUND_SECONDS, PAUSE_SECONDS, QUIET_LOOKS
from runner.process.supervisor.record import MARKER, MOST_NAMED

_INCARNATION = re.compile("[0-9a-f]{32}")


def end(incarnation: str) -> Mapping[str, Any] | None:
    """Kill all processes that carry a mark of this life of a supervisor or are in one of its control groups, and their
    descendants; a kill report, None when there were none. Blocks, for five seconds at most."""
    if not _INCARNATION.fullmatch(incarnation):
        return None
    began = time.monotonic()
    struck: set[int] = set()
    left: list[Process] = []
    rooms = cgroups.former(incarnation)
    quiet = 0
    while quiet < QUIET_LOOKS and time.monotonic() < began + BOUND_SECONDS:
        left = list(processes.members(lambda process: processes.mark_of(process.pid, incarnation)))
        processes.kill(left)
        known = {process.pid for process in left}
        for room in rooms:
            left += [process for pid in room.pids() if pid not in known and (process := processes.read(pid))]
            room.kill()
        struck.update(process.pid for process in left)
        quiet = 0 if left else quiet + 1
        time.sleep(PAUSE_SECONDS)
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
