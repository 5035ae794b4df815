"""One run of a rival: open it, let it warm up, have it run COUNT times `/bin/true`, print the metrics as one line of JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.measure import Metrics, machine_cpu_seconds

TRUE = "/bin/true"
WARM_UP_TASKS = 50
LONGEST_RUN_SECONDS = 240.0
"""Less than the benchmark waits, so that a rival's servers are ended by whoever started them."""

RunAll = Callable[[int], int]
"""Runs that many independent tasks, each of which starts `/bin/true` as a process and waits for its end; how many succeeded."""

Open = Callable[[Path], AbstractContextManager[RunAll]]
"""Starts what a rival needs to stand ready, its files in the empty folder; ends it again."""


def contest(open_rival: Open) -> NoReturn:
    """Measures the rival as the command line says, and ends this process: some rivals would talk to their servers even then."""
    # What a rival prints is not what this program prints.
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _give_up)
    watchdog = threading.Timer(LONGEST_RUN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
    watchdog.daemon = True
    watchdog.start()
    status = 1
    try:
        print(json.dumps(measured(open_rival, int(sys.argv[1]))), file=out, flush=True)
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is told, and this process ends
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def measured(open_rival: Open, count: int) -> Metrics:
    """The clock runs from handing `count` tasks over until all are known to be done. Raises RuntimeError when not all succeed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        open_rival(Path(folder)) as run_all,
    ):
        _check(run_all(WARM_UP_TASKS), WARM_UP_TASKS)
        machine, began = machine_cpu_seconds(), time.perf_counter()
        _check(run_all(count), count)
        seconds = time.perf_counter() - began
        return {
            "tasks_per_s": count / seconds,
            "machine_cpu_ms_per_task": (machine_cpu_seconds() - machine) / count * 1e3,
        }


def _check(succeeded: int, count: int) -> None:
    if succeeded != count:
        raise RuntimeError(f"{succeeded} of {count} tasks succeeded")


def _give_up(number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"ended by {signal.Signals(number).name}")
