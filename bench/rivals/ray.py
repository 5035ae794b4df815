"""ray with workers that stand ready."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from bench.rivals.contest import TRUE, RunAll, contest

WORKERS = 4
OBJECT_STORE_BYTES = 100 << 20


@ray.remote
def indep() -> int:
    return subprocess.run([TRUE], check=False).returncode


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        return ray.get([indep.remote() for _ in range(count)]).count(0)

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=WORKERS, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, log_to_driver=False,
        logging_level="ERROR", _node_ip_address="127.0.0.1", _temp_dir=str(folder),
    )  # fmt: skip
    try:
        yield run_all
    finally:
        ray.shutdown()


if __name__ == "__main__":
    contest(opened)
