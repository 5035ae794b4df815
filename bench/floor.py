"""The limit: what a C program takes to start, capture and reap the same processes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from bench.measure import Metrics, machine_cpu_seconds, run
from bench.samples import BenchError
from bench.workloads import TRUE

SOURCE = Path(__file__).with_name("floor.c")


def compile_floor(folder: Path) -> Path:
    """The program, built in `folder`. Raises BenchError when there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError(
            "there is no C compiler (cc): the limit of the machine cannot be measured; install gcc or clang"
        )
    program = folder / "floor"
    done = subprocess.run([compiler, "-O2", "-o", program, SOURCE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{compiler} does not compile {SOURCE.name}:\n{done.stderr}")
    return program


def measure(program: Path, count: int, in_flight: int) -> Metrics:
    """Metrics of `count` processes, `in_flight` at once."""
    machine = machine_cpu_seconds()
    figures = json.loads(run([str(program), str(count), str(in_flight), TRUE], keep=True).stdout)
    return {
        "tasks_per_s": count / figures["seconds"],
        "cpu_ms_per_task": figures["cpu_seconds"] / count * 1e3,
        "machine_cpu_ms_per_task": (machine_cpu_seconds() - machine) / count * 1e3,
    }
