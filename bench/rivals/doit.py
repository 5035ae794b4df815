"""doit, its runner with processes. A command that is a list is started without a shell, its output captured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

from bench.rivals.contest import TRUE, RunAll, contest

PROCESSES = 8


@contextmanager
def opened(folder: Path) -> Iterator[RunAll]:
    def run_all(count: int) -> int:
        def task_indep() -> Iterator[dict[str, Any]]:
            for index in range(count):
                yield {"name": str(index), "actions": [[TRUE]]}

        loader = ModuleTaskLoader({"task_indep": task_indep})
        argv = ["run", "-n", str(PROCESSES), "--db-file", str(folder / "doit.db"), "--reporter", "zero"]
        return count if DoitMain(loader).run(argv) == 0 else 0

    yield run_all


if __name__ == "__main__":
    contest(opened)
