"""luigi with a scheduler of its own and workers that each start a process for a task."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as numbers
from pathlib import Path

import luigi

from bench.rivals.contest import TRUE, RunAll, contest

WORKERS = 8


class Indep(luigi.Task):
    """Has no output, and says itself whether it has run."""

    number = luigi.IntParameter()
    index = luigi.IntParameter()

    def run(self) -> None:
        subprocess.run([TRUE], check=True)

    def complete(self) -> bool:
        return False


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        number = next(runs)
        tasks = [Indep(number=number, index=index) for index in range(count)]
        succeeded = luigi.build(tasks, workers=WORKERS, local_scheduler=True, log_level="CRITICAL")
        return count if succeeded else 0

    runs = numbers()
    yield run_all


if __name__ == "__main__":
    contest(opened)
