"""One measured run, and how it is measured."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LONGEST_RUN_SECONDS = 300.0


class BenchError(Exception):
    """Something that is needed is missing, or a contestant did not do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run. Samples of one `round` ran one after the other and are compared with each other. The names of `metrics` carry
    their unit, e.g. `tasks_per_s`, `cpu_ms_per_task`."""

    round: int
    contestant: str
    workload: str
    metrics: Mapping[str, float]


def to_line(sample: Sample) -> str:
    return json.dumps(asdict(sample), sort_keys=True)


def from_lines(lines: Iterable[str]) -> list[Sample]:
    """The samples of a file that `--json` wrote. Raises BenchError for a line that is none."""
    samples = []
    for number, line in enumerate(lines, 1):
        try:
            samples.append(Sample(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise BenchError(f"line {number} is no sample: {error}") from error
    return samples


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
