"""prefect: a flow whose tasks run in threads, and a server of its own that stands ready."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rivals.contest import TRUE, RunAll, contest
from bench.rivals.servers import free_port, server

THREADS = 8


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    os.environ.update(
        PREFECT_HOME=str(folder),
        PREFECT_API_URL=api,
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    @task
    def indep() -> int:
        return subprocess.run([TRUE], check=False).returncode

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=THREADS))
    def all_of_them(count: int) -> int:
        futures = [indep.submit() for _ in range(count)]
        return [future.result() for future in futures].count(0)

    argv = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with server(argv, folder, lambda: _answers(f"{api}/health")):
        yield all_of_them


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    contest(opened)
