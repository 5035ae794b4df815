"""huey with Redis as its queue and a consumer that stands ready."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huey import RedisHuey

from bench.rivals.contest import TRUE, RunAll, contest
from bench.rivals.servers import redis, server

PROCESSES = "4"
SOCKET = "BENCH_REDIS"
"""The variable that tells the consumer, which imports this module by its name, where Redis listens."""
LONGEST_POLL_SECONDS = 0.005

app = RedisHuey("bench", url=f"unix://{os.environ.get(SOCKET, '')}")


@app.task()
def indep() -> int:
    return subprocess.run([TRUE], check=False).returncode


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        results = [named.indep() for _ in range(count)]
        ended = [result.get(blocking=True, max_delay=LONGEST_POLL_SECONDS) for result in results]
        return ended.count(0)

    with redis(folder) as socket:
        os.environ[SOCKET] = str(socket)
        # Under the name that the consumer knows the task by: here this module is `__main__`.
        from bench.rivals import huey as named

        # What comes before the consumer is ready waits in Redis.
        consumer = [sys.executable, "-m", "huey.bin.huey_consumer", f"{named.__name__}.app", "-q"]
        with server([*consumer, "-k", "process", "-w", PROCESSES], folder, lambda: True):
            yield run_all


if __name__ == "__main__":
    contest(opened)
