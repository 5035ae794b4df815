"""celery with Redis as its queue and its store of results, and a worker that stands ready."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery, group

from bench.rivals.contest import TRUE, RunAll, contest
from bench.rivals.servers import redis, server

PROCESSES = "4"
PREFETCH = 16
"""Tasks that the worker takes from the queue at once, for each of its processes."""


app = Celery("bench")
app.conf.update(task_ignore_result=False, broker_connection_retry_on_startup=True, worker_prefetch_multiplier=PREFETCH)


@app.task(name="indep")
def indep() -> int:
    return subprocess.run([TRUE], check=False).returncode


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        return group(indep.s() for _ in range(count))().get().count(0)

    with redis(folder) as socket:
        app.conf.update(broker_url=f"redis+socket://{socket}", result_backend=f"redis+socket://{socket}")
        worker = [
            sys.executable, "-m", "celery", "-A", f"{__package__}.celery", "-b", f"redis+socket://{socket}",
            "--result-backend", f"redis+socket://{socket}", "worker", "--pool", "prefork", "-c", PROCESSES,
            "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR",
        ]  # fmt: skip
        with server(worker, folder, lambda: True):
            yield run_all


if __name__ == "__main__":
    contest(opened)
