"""make and ninja on the same graphs. make starts a plain command itself and captures nothing; ninja captures, and always
goes through `sh -c`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import workloads
from bench.measure import Metrics, machine_cpu_seconds, run
from bench.workloads import Workload

JOBS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    name: str
    program: str
    file_name: str
    text: Callable[[Workload], str]

    def measure(self, workload: Workload, folder: Path) -> Metrics:
        """Metrics of one run, the program's own start included, in the empty folder `folder`."""
        (folder / self.file_name).write_text(self.text(workload), encoding="ascii")
        machine = machine_cpu_seconds()
        done = run([self.program, f"-j{JOBS}", "-f", self.file_name], cwd=folder)
        return {
            "tasks_per_s": workload.count / done.seconds,
            "cpu_ms_per_task": done.cpu_seconds / workload.count * 1e3,
            "machine_cpu_ms_per_task": (machine_cpu_seconds() - machine) / workload.count * 1e3,
            "max_rss_mb": done.max_rss_bytes / 1e6,
        }


def installed() -> list[Peer]:
    """The peers that this machine has; ninja also from the environment of this Python."""
    found = []
    for name, file_name, text in (
        ("make", "Makefile", workloads.makefile),
        ("ninja", "build.ninja", workloads.ninja_file),
    ):
        program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
        if program is not None:
            found.append(Peer(name=name, program=program, file_name=file_name, text=text))
    return found
