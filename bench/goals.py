"""Which ratios are wanted, and what was reached. A goal is judged by the median of the ratios of all rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bench.samples import Sample


class Figure(NamedTuple):
    """One metric of one contestant on one workload."""

    contestant: str
    workload: str
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`combine(ours, theirs)` is wanted at least (or at most) `goal`; out for `stretch`. Without a `goal` it is only told."""

    number: str
    what: str
    ours: Figure
    theirs: Figure | None = None
    combine: Callable[[float, float], float] = lambda ours, theirs: ours / theirs
    goal: float | None = None
    stretch: float | None = None
    at_least: bool = True
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Over the rounds: the median, and what it varied between."""

    goal: Goal
    value: float
    low: float
    high: float
    rounds: int

    @property
    def verdict(self) -> str:
        goal = self.goal
        if goal.goal is None:
            return ""
        if goal.stretch is not None and _meets(self.value, goal.stretch, goal.at_least):
            return "stretch"
        return "reached" if _meets(self.value, goal.goal, goal.at_least) else "missed"


def _meets(value: float, wanted: float, at_least: bool) -> bool:
    return value >= wanted if at_least else value <= wanted


def _above(ours: float, theirs: float) -> float:
    return ours - theirs


def _step(ours: float, theirs: float) -> float:
    """The time of a step by the rates of both."""
    return theirs / ours


def _rate(contestant: str, workload: str) -> Figure:
    return Figure(contestant, workload, "tasks_per_s")


def _bytes(contestant: str) -> Figure:
    return Figure(contestant, "output", "mb_per_s")


def alone(contestant: str) -> str:
    return f"{contestant}, in process"


FLOOR = "C floor, 8 in flight"
FLOOR_SEQUENTIAL = "C floor, one by one"
MAKE = "make -j2"
NINJA = "ninja -j2"
NODE = "runner, in process"
SERVED = "runner serve, over gRPC"
FORWARDED = "runner serve, forwarding to another"
SERVED_TLS = "runner serve, over gRPC with mTLS"
COMMAND = "runner run"
FIRST_LINE = "runner run, its first line"
ENGINE_MEMORY = "engine, memory store"
ENGINE = "engine, SQLite store"
HOST = "supervisor and its client, 8 in flight"
SPAWN = "the supervisor's own code that starts a process"
LOAD = "runner, load and validate"
YAML = "yaml.load(CSafeLoader)"
VERSION = "runner --version"
PYTHON = "python -c pass"
QUEUED = "engine, waiting tasks"
WAITING = "runner run, waiting"
IDLE = "runner serve, idle"
RIVALS = {
    "doit": 1.2, "huey": 1.6, "ray": 1.6, "dask": 2.3, "celery": 4.0, "parallel": 4.5, "luigi": 9.0, "prefect": 12.0,
}  # fmt: skip
"""How many times as fast as each of these is wanted."""
CAT = "cat | cat > file"
UNMASKED = "runner, output without secrets"
MASKED = "runner, output with 10 secrets"
MASKED_PEM = "runner, output with 9 secrets and a PEM key"
OUTPUTS = {"none": UNMASKED, "ten": MASKED, "pem": MASKED_PEM}
LINES = "runner, line by line"
ASKING = "runner info"

GOALS = (
    Goal(number="1", what="`indep` ÷ C floor at 8 in flight", ours=_rate(SERVED, "indep"), theirs=_rate(FLOOR, "indep"),
         goal=0.48, stretch=0.60),
    Goal(number="1", what="the same in process, without gRPC", ours=_rate(NODE, "indep"), theirs=_rate(FLOOR, "indep")),
    Goal(number="2", what="`indep` ÷ make -j2", ours=_rate(SERVED, "indep"), theirs=_rate(MAKE, "indep"),
         goal=0.50, stretch=0.65),
    Goal(number="3", what="`indep`, argv ÷ ninja -j2", ours=_rate(SERVED, "indep"), theirs=_rate(NINJA, "indep"),
         goal=1.1, stretch=1.3),
    Goal(number="3", what="`indep`, `sh -c` ÷ ninja -j2", ours=_rate(SERVED, "indep-sh"), theirs=_rate(NINJA, "indep"),
         goal=0.65, stretch=0.85),
    *(Goal(number="4", what=f"`indep` ÷ {rival}", ours=_rate(SERVED, "indep"), theirs=_rate(rival, "indep"), goal=goal)
      for rival, goal in RIVALS.items()),
    Goal(number="5", what="a step of `chain` ÷ C one by one: in process", ours=_rate(NODE, "chain"),
         theirs=_rate(FLOOR_SEQUENTIAL, "chain"), combine=_step, goal=1.6, stretch=1.5, at_least=False),
    Goal(number="5", what="the same over gRPC", ours=_rate(SERVED, "chain"),
         theirs=_rate(FLOOR_SEQUENTIAL, "chain"), combine=_step, goal=2.3, stretch=1.8, at_least=False),
    Goal(number="5", what="`dag` rate ÷ `indep` rate", ours=_rate(SERVED, "dag"), theirs=_rate(SERVED, "indep"), goal=0.95),
    Goal(number="6", what="`indep`, every task forwarded to another node, ÷ submitted to that one", ours=_rate(FORWARDED, "indep"),
         theirs=Figure(FORWARDED, "indep", "direct_tasks_per_s"), goal=0.40, stretch=0.60),
    Goal(number="6", what="`indep`, forwarded as a whole, ÷ submitted to that node", ours=Figure(FORWARDED, "indep", "whole_tasks_per_s"),
         theirs=Figure(FORWARDED, "indep", "direct_tasks_per_s"), goal=0.85, stretch=0.95),
    Goal(number="7", what="`indep` over mTLS ÷ plain", ours=_rate(SERVED_TLS, "indep"), theirs=_rate(SERVED, "indep"),
         goal=0.90),
    Goal(number="7", what="small questions over mTLS ÷ plain, 16 at once", ours=Figure(SERVED_TLS, "asked", "calls_per_s"),
         theirs=Figure(SERVED, "asked", "calls_per_s")),
    Goal(number="8", what="processor time a task above the C floor: of node, supervisor and tasks", unit="ms",
         ours=Figure(SERVED, "indep", "cpu_ms_per_task"), theirs=Figure(FLOOR, "indep", "cpu_ms_per_task"),
         combine=_above, goal=0.55, stretch=0.30, at_least=False),
    Goal(number="8", what="the same, of the whole machine, client included", unit="ms",
         ours=Figure(SERVED, "indep", "machine_cpu_ms_per_task"), theirs=Figure(FLOOR, "indep", "machine_cpu_ms_per_task"),
         combine=_above, goal=0.55, stretch=0.30, at_least=False),
    Goal(number="–", what="a small question over gRPC, one by one", ours=Figure(SERVED, "asked", "ms_alone"), unit="ms"),
    Goal(number="9", what="child → mask → disk → client ÷ `cat`, no secrets", ours=_bytes(UNMASKED), theirs=_bytes(CAT),
         goal=0.25, stretch=0.30),
    Goal(number="9", what="the same with 10 secrets", ours=_bytes(MASKED), theirs=_bytes(CAT), goal=0.15, stretch=0.25),
    Goal(number="9", what="a line from its program to the client, p99", ours=Figure(LINES, "lines", "p99_ms"), unit="ms",
         goal=2, stretch=1, at_least=False),
    Goal(number="9", what="the same, p50", ours=Figure(LINES, "lines", "p50_ms"), unit="ms"),
    Goal(number="9", what="÷ `cat` in process, without gRPC: no secrets", ours=_bytes(alone(UNMASKED)), theirs=_bytes(CAT)),
    Goal(number="9", what="the same with 10 secrets", ours=_bytes(alone(MASKED)), theirs=_bytes(CAT)),
    Goal(number="9", what="a line in process, p99", ours=Figure(alone(LINES), "lines", "p99_ms"), unit="ms"),
    Goal(number="10", what="masking on ÷ off: 10 secrets in all encodings", ours=_bytes(MASKED), theirs=_bytes(UNMASKED),
         goal=0.6, stretch=0.85),
    Goal(number="10", what="the same, one of them a PEM key", ours=_bytes(MASKED_PEM), theirs=_bytes(UNMASKED),
         goal=0.4, stretch=0.85),
    Goal(number="11", what="load and validate YAML, a template a task ÷ CSafeLoader", ours=Figure(LOAD, "load", "seconds"),
         theirs=Figure(YAML, "load", "seconds"), goal=0.3, stretch=0.2, at_least=False),
    Goal(number="13", what="`runner --version` ÷ `python -c pass`", ours=Figure(VERSION, "start", "seconds"),
         theirs=Figure(PYTHON, "start", "seconds"), goal=4, stretch=2.5, at_least=False),
    Goal(number="13", what="`runner info`, which asks a node over gRPC, ÷ `python -c pass`", ours=Figure(ASKING, "start", "seconds"),
         theirs=Figure(ASKING, "start", "python_seconds"), goal=12, stretch=9, at_least=False),
    Goal(number="14", what="a waiting task in memory", ours=Figure(QUEUED, "queued", "bytes_per_task"), unit="B",
         goal=4096, stretch=2048, at_least=False),
    Goal(number="14", what="`runner serve`, idle", ours=Figure(IDLE, "idle", "rss_mb"), unit="MB",
         goal=60, stretch=50, at_least=False),
    Goal(number="14", what="the same behind a group with ten secrets", ours=Figure(IDLE, "idle", "rss_mb_behind_a_group"),
         unit="MB"),
    Goal(number="14", what="`runner run`, its task asleep: the runner", ours=Figure(WAITING, "one", "rss_mb"), unit="MB",
         goal=60, stretch=50, at_least=False),
    Goal(number="14", what="… and its supervisor", ours=Figure(WAITING, "one", "helper_rss_mb"), unit="MB"),
    Goal(number="15", what="engine + SQLite: tasks/s at 10,000 ÷ at 1,000", ours=_rate(ENGINE, "indep-10000"),
         theirs=_rate(ENGINE, "indep-1000"), goal=0.9),
    Goal(number="15", what="engine + SQLite: tasks/s at 100,000 ÷ at 1,000", ours=_rate(ENGINE, "indep-100000"),
         theirs=_rate(ENGINE, "indep-1000"), goal=0.9),
    Goal(number="15", what="real processes, over gRPC: tasks/s at 10,000 ÷ at 1,000", ours=_rate(SERVED, "indep-10000"),
         theirs=_rate(SERVED, "indep-1000"), goal=0.9),
    Goal(number="–", what="`runner run`: the first on a terminal, which says what is read", ours=Figure(FIRST_LINE, "one", "first_ms"), unit="ms",
         goal=150, at_least=False),
    Goal(number="–", what="… and the line that names the group, whose document is right", ours=Figure(FIRST_LINE, "one", "ms"), unit="ms"),
    Goal(number="–", what="`runner run` of `one`, start to end", ours=Figure(COMMAND, "one", "seconds"), unit="s"),
    Goal(number="–", what="the same ÷ make of one", ours=Figure(COMMAND, "one", "seconds"), theirs=Figure(MAKE, "one", "seconds")),
    Goal(number="–", what="`runner run` of `indep` as a whole ÷ make -j2", ours=_rate(COMMAND, "indep"),
         theirs=_rate(MAKE, "indep")),
)  # fmt: skip


def reached(samples: Sequence[Sample], goals: Sequence[Goal] = GOALS) -> list[Reached]:
    """The goals that the samples say something of. Only figures of the same round are combined."""
    found = []
    for goal in goals:
        ours, theirs = _by_round(samples, goal.ours), _by_round(samples, goal.theirs)
        if goal.theirs is None:
            values = list(ours.values())
        else:
            values = [goal.combine(ours[number], theirs[number]) for number in ours if number in theirs]
        if values:
            found.append(
                Reached(goal=goal, value=median(values), low=min(values), high=max(values), rounds=len(values))
            )
    return found


def _by_round(samples: Sequence[Sample], figure: Figure | None) -> dict[int, float]:
    if figure is None:
        return {}
    return {
        sample.round: sample.metrics[figure.metric]
        for sample in samples
        if (sample.contestant, sample.workload) == (figure.contestant, figure.workload)
        and figure.metric in sample.metrics
    }
