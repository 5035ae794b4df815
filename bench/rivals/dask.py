"""dask.distributed with worker processes that stand ready."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster

from bench.rivals.contest import TRUE, RunAll, contest

WORKERS = 2
THREADS_PER_WORKER = 2


def indep(_index: int) -> int:
    return subprocess.run([TRUE], check=False).returncode


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        return client.gather(client.map(indep, range(count), pure=False)).count(0)

    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=THREADS_PER_WORKER, host="127.0.0.1", dashboard_address=None,
            local_directory=str(folder),
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield run_all


if __name__ == "__main__":
    contest(opened)
