"""What the supervisor's processor time for one start is spent on, from the system call outwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bench.measure import Metrics
from bench.workloads import TRUE
from runner.process.supervisor.children import Limits, Program, spawn
from runner.process.supervisor.processes import Mark


def measured(count: int) -> Metrics:
    """Milliseconds of this process's own time for one start: the system calls alone, and with all that the supervisor does
    around them (folder, pipes, limits that mark)."""
    limits = Limits()
    mark = Mark("ab" * 16, 1, "key")

    def bare() -> None:
        os.waitpid(os.posix_spawn(TRUE, [TRUE], {}, setsid=True), 0)

    def whole() -> None:
        child = spawn(Program([TRUE], {}, "/"), limits, mark)
        for output in child.outputs:
            os.close(output)
        os.waitpid(child.pid, 0)

    return {"bare_ms_per_spawn": _own_ms(bare, count), "spawn_ms_per_spawn": _own_ms(whole, count)}


def _own_ms(start: Callable[[], None], count: int) -> float:
    for _ in range(20):
        start()
    begin = time.process_time()
    for _ in range(count):
        start()
    return (time.process_time() - begin) / count * 1e3
