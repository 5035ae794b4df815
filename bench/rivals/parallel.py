"""GNU parallel. It captures output and goes through a shell, of which the lightest is taken. Its own start is part of a run, as
make's is: it has no way of standing ready."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rivals.contest import TRUE, RunAll, contest

JOBS = 8


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        # With -N0 each line is one run and adds nothing to the command. The exit status is how many failed.
        argv = ["parallel", "--will-cite", f"-j{JOBS}", "-N0", TRUE]
        done = subprocess.run(argv, input=b"\n" * count, env=env, cwd=folder, check=False)
        return count - done.returncode

    env = {**os.environ, "HOME": str(folder), "PARALLEL_SHELL": "/bin/sh"}
    yield run_all


if __name__ == "__main__":
    contest(opened)
