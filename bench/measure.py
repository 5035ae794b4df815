"""How a run is measured: time, processor time, memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.samples import BenchError

LONGEST_RUN_SECONDS = 300.0

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended with status 0. `cpu_seconds` is its own processor time and that of all that it waited for."""

    seconds: float
    cpu_seconds: float
    max_rss_bytes: int
    stdout: bytes


def run(
    argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, keep: bool = False
) -> Finished:
    """Run a program to its end, its stdout kept or thrown away. Raises BenchError when it fails or takes too long."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if keep else subprocess.DEVNULL
    )
    watchdog = threading.Timer(LONGEST_RUN_SECONDS, process.kill)
    watchdog.start()
    try:
        stdout = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    finally:
        watchdog.cancel()
        if process.stdout:
            process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchError(f"{' '.join(map(str, argv[:6]))} … ended with {process.returncode}")
    return Finished(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        max_rss_bytes=usage.ru_maxrss * 1024,
        stdout=stdout,
    )


def machine_cpu_seconds() -> float:
    """Processor time that the whole machine has spent so far, by whomever."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def process_cpu_seconds(pid: int) -> tuple[float, float]:
    """Processor time of a living process: its own, and that of the children that it waited for."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    user, system, child_user, child_system = map(int, fields[11:15])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + system) / tick, (child_user + child_system) / tick


def rss_bytes(pid: int) -> int:
    """What a living process holds in memory now."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """The processes that `pid` and its children started and that still live."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text(encoding="ascii").split()):
            found += [child, *descendants(child)]
    return found


class Meter:
    """The processor time of this process and of all that lives below it, from `start` on."""

    def __init__(self) -> None:
        self._machine = machine_cpu_seconds()
        self._own = time.process_time()
        self._helpers = self._of_helpers()
        self._begin = time.perf_counter()

    def stop(self, tasks: int) -> Metrics:
        """What `tasks` tasks took. `helper` is the supervisor itself, `children` what it reaped."""
        seconds = time.perf_counter() - self._begin
        own = time.process_time() - self._own
        helper, children = (now - then for now, then in zip(self._of_helpers(), self._helpers, strict=True))
        machine = machine_cpu_seconds() - self._machine
        return {
            "tasks_per_s": tasks / seconds,
            "cpu_ms_per_task": (own + helper + children) / tasks * 1e3,
            "own_cpu_ms_per_task": own / tasks * 1e3,
            "helper_cpu_ms_per_task": helper / tasks * 1e3,
            "children_cpu_ms_per_task": children / tasks * 1e3,
            "machine_cpu_ms_per_task": machine / tasks * 1e3,
        }

    @staticmethod
    def _of_helpers() -> tuple[float, float]:
        times = [process_cpu_seconds(pid) for pid in descendants(os.getpid())]
        return sum(own for own, _ in times), sum(children for _, children in times)
