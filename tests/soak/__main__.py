"""`python -m tests.soak --minutes 20 --groups 1000`: a node at work, and what it takes of the machine meanwhile.

So many groups are in flight all the time, submitted, watched, paused and cancelled at random. At the end it is told whether
memory, descriptors and threads have stayed as they were; the exit status is 0 when they have. `--write` draws the graph beside
bench/RESULTS.md and puts the figures there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench import report
from runner.client import AsyncClient, Patience
from tests.acceptance.mortal import Node
from tests.soak import graph, verdict
from tests.soak.load import LIFE_SECONDS, Load
from tests.soak.sampling import Sample, Sampler
from tests.soak.verdict import Finding

BENCH = Path(report.__file__).parent
BEGIN = "<!-- soaked: begin (`python -m tests.soak --write` writes what stands between these lines) -->"
END = "<!-- soaked: end -->"
PROGRESS_SECONDS = 30.0
_DESCRIPTORS = 16_384


class Options(Protocol):
    """Of the command line."""

    minutes: float
    groups: int
    slots: int
    life: float
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--groups", type=int, default=1000, help="how many are in flight (1000)")
    parser.add_argument("--slots", type=int, default=600, help="how many tasks may run at once (600)")
    parser.add_argument(
        "--life", type=float, default=LIFE_SECONDS, metavar="SECONDS", help="how long a group lasts about"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is submitted (0)")
    parser.add_argument("--graph", type=Path, metavar="FILE", help="draw it there")
    parser.add_argument("--write", action="store_true", help="draw it in bench/, and write the figures into RESULTS.md")
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    machine = report.machine()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        samples, load = asyncio.run(soaked(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    findings = verdict.judge(samples)
    told = _told(samples, load, findings)
    print(*told, *load.faults, sep="\n")
    title = f"{options.groups:,} groups in flight for {options.minutes:g} minutes"
    drawn = graph.draw(samples, title)
    for path in [*([options.graph] if options.graph else []), *([BENCH / "soak.svg"] if options.write else [])]:
        path.write_text(drawn, encoding="utf-8")
    if options.write:
        _write(f"{machine}. {title}, up to {options.slots:,} tasks at once.", told)
    return 0 if not load.faults and all(finding.flat for finding in findings) else 1


async def soaked(options: Options, folder: Path) -> tuple[Sequence[Sample], Load]:
    given = folder / "given"
    given.mkdir()
    (given / "file").write_bytes(os.urandom(100_000))
    settings = ["--max-parallel", str(options.slots), "--log-format", "json"]
    # A caller may have 10,000 groups and 1,000 streams: these are of one.
    node = Node(folder / "state", options=settings, environment={"RUNNER_LIMITS_STREAMS_PER_CALLER": "4000"})
    try:
        await asyncio.to_thread(node.start)
        (supervisor,) = node.supervisors
        async with AsyncClient(node.socket, patience=Patience(call=120)) as client:
            load = Load(client, groups=options.groups, seed=options.seed, life_seconds=options.life, folder=given)
            sampler = Sampler(folder / "state", node.pid, supervisor, load.counts)
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(sampler.run()), tasks.create_task(_progress(sampler))]
                await load.run(options.minutes * 60)
                for task in beside:
                    task.cancel()
        within = [sample for sample in sampler.samples if sample.at <= options.minutes * 60]
        return within, load
    finally:
        await asyncio.to_thread(node.remove)


async def _progress(sampler: Sampler) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        print(sampler.samples[-1], flush=True)


def _told(samples: Sequence[Sample], load: Load, findings: Sequence[Finding]) -> list[str]:
    last, done = samples[-1], load.done
    disk = f"{last.database:,.0f} MiB of database, {last.logs:,.0f} MiB of logs"
    return [
        f"{last.finished:,} groups were over after {last.at:,.0f} s ({last.finished / last.at:,.1f} a second): "
        + ", ".join(f"{count:,} {what}" for what, count in sorted(done.items()) if what not in ("finished", "bytes")),
        f"{done['bytes'] / (1 << 20):,.0f} MiB of output were watched; there are {disk}",
        *map(str, findings),
    ]


def _write(title: str, told: Sequence[str]) -> None:
    path = BENCH / "RESULTS.md"
    report.write(path, "\n".join([title, "", *(f"- {line}" for line in told)]), begin=BEGIN, end=END)


if __name__ == "__main__":
    sys.exit(main())
