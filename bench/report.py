"""The tables, on the terminal and in RESULTS.md."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import goals
from bench.goals import Goal, Reached
from bench.samples import BenchError, Sample

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN = "<!-- measured: begin (`python -m bench --write` writes what stands between these lines) -->"
END = "<!-- measured: end -->"

SPAWNING = (
    goals.FLOOR,
    goals.FLOOR_SEQUENTIAL,
    goals.MAKE,
    goals.NINJA,
    goals.HOST,
    goals.NODE,
    goals.SERVED,
    goals.SERVED_TLS,
    goals.COMMAND,
    *goals.RIVALS,
)


def machine() -> str:
    """Where and when this is measured, and whether others were using it."""
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} × {_processor()}, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, state on"
        f" {_file_system(tempfile.gettempdir())}, load average {load:.2f} at the start"
    )


def goals_table(found: Sequence[Reached]) -> list[str]:
    lines = ["| # | what | goal | stretch | measured | from – to | rounds | |", "|---|---|---|---|---|---|---|---|"]
    for item in found:
        goal = item.goal
        lines.append(
            f"| {goal.number} | {goal.what} | {_wanted(goal, goal.goal)} | {_wanted(goal, goal.stretch)}"
            f" | {_number(item.value, goal.unit)} | {_number(item.low)} – {_number(item.high)} | {item.rounds}"
            f" | {item.verdict} |"
        )
    return lines


def rates_table(samples: Sequence[Sample]) -> list[str]:
    """Absolute rates: medians, to be compared within this table alone."""
    names = ("indep", "indep-sh", "chain", "dag", "one")
    lines = [f"| tasks/s | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for contestant in SPAWNING:
        cells = [_median(samples, contestant, name, "tasks_per_s") for name in names]
        if any(cell is not None for cell in cells):
            lines.append(f"| {contestant} | {' | '.join('' if cell is None else f'{cell:,.0f}' for cell in cells)} |")
    return lines if len(lines) > 2 else []


def parts_table(samples: Sequence[Sample]) -> list[str]:
    """Where the processor time of one supervised `/bin/true` goes, by difference between contestants."""

    def of(contestant: str, metric: str = "cpu_ms_per_task") -> float | None:
        return _median(samples, contestant, "indep", metric)

    memory, engine, whole = of(goals.ENGINE_MEMORY), of(goals.ENGINE), of(goals.NODE, "own_cpu_ms_per_task")
    client, supervisor = of(goals.HOST, "own_cpu_ms_per_task"), of(goals.NODE, "helper_cpu_ms_per_task")
    bare, spawn = of(goals.SPAWN, "bare_ms_per_spawn"), of(goals.SPAWN, "spawn_ms_per_spawn")
    rows = [
        ("C floor: kernel, program and the C program around it", of(goals.FLOOR)),
        ("runner: engine", memory),
        ("runner: SQLite store", _minus(engine, memory)),
        ("runner: client of the supervisor", client),
        ("runner: the rest, that is dispatcher, driver, logs", _minus(_minus(whole, engine), client)),
        ("supervisor: posix_spawn and waitpid", bare),
        ("supervisor: folder, pipes, limits that mark", _minus(spawn, bare)),
        ("supervisor: messages, records, output", _minus(supervisor, spawn)),
        ("the processes, with what the kernel does in their name", of(goals.NODE, "children_cpu_ms_per_task")),
        ("all of the runner, its supervisor and its processes", of(goals.NODE)),
    ]
    known = [f"| {what} | {value:.3f} |" for what, value in rows if value is not None]
    return ["| processor time of one `/bin/true` | ms |", "|---|---|", *known] if known else []


def render(samples: Sequence[Sample]) -> str:
    """All tables that the samples have something for."""
    tables = [goals_table(goals.reached(samples)), rates_table(samples), parts_table(samples)]
    return "\n\n".join("\n".join(table) for table in tables if len(table) > 2)


def write(path: Path, text: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put `text` between two marks of a file. Raises BenchError when they are not there."""
    old = path.read_text(encoding="utf-8")
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise BenchError(f"{path} has no lines {begin!r} and {end!r}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _median(samples: Sequence[Sample], contestant: str, workload: str, metric: str) -> float | None:
    values = [
        sample.metrics[metric]
        for sample in samples
        if sample.contestant == contestant and sample.workload == workload and metric in sample.metrics
    ]
    return median(values) if values else None


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _wanted(goal: Goal, value: float | None) -> str:
    return "" if value is None else f"{'≥' if goal.at_least else '≤'} {_number(value, goal.unit)}"


def _number(value: float, unit: str = "") -> str:
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{digits} {unit}".rstrip()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _file_system(folder: str) -> str:
    """The type of the file system that `folder` lies on, as Linux calls it."""
    best, kind = "", sys.platform
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                _, point, fstype, *_ = line.split(" ")
                if len(point) >= len(best) and (folder + "/").startswith(point.rstrip("/") + "/"):
                    best, kind = point, fstype
    except OSError:
        pass
    return kind
