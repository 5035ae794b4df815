"""What tasks print, on its way through pipe, masks and log to somebody who follows it; beside `cat`, which only copies."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Protocol

from bench.measure import Metrics
from bench.samples import BenchError
from runner.config import load_settings
from runner.engine.engine import Engine
from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.group import Input, TaskGroup
from runner.model.result import Status
from runner.model.task import Task

TASK = "print"
SECRETS = {
    "none": {},
    "ten": {f"secret_{number}": f"confidential-{number:02}-0f1e2d3c4b5a69788" for number in range(10)},
}
WORDS = [
    "info",
    "warn",
    "debug",
    "GET",
    "POST",
    "200",
    "404",
    "compiling",
    "linking",
    "retry",
    "connection",
    "closed",
    "by",
    "peer",
    "request",
    "took",
    "ms",
    "user",
    "session",
    "cache",
    "hit",
    "miss",
    "queue",
    "worker",
    "started",
    "stopped",
    "/usr/lib/python3",
    "src/main/java/com/example",
    "--release",
    "target",
    "tests",
    "passed",
    "failed",
]

# Lines that carry the moment at which they were written, in nanoseconds of the monotonic clock.
STAMPS = (
    "import os, time\n"
    "for number in range({count}):\n"
    "    os.write(1, b'line %d of a program that works: ' % number + b'%d\\n' % time.monotonic_ns())\n"
    "    time.sleep(0.002)\n"
)


def log_text(size: int) -> bytes:
    """What a build prints, the same each time; nothing in it is confidential."""
    chance = random.Random(1)
    lines = [
        f"2026-01-01T00:00:{number % 60:02} [{chance.randrange(1 << 24):06x}] {' '.join(chance.choices(WORDS, k=9))}\n"
        for number in range(5000)
    ]
    block = "".join(lines).encode()
    return (block * (size // len(block) + 1))[:size]


def copied(folder: Path, size: int) -> Metrics:
    """`cat FILE | cat > FILE`: the limit."""
    source, target = source_file(folder, size), folder / "copy"
    begin = time.perf_counter()
    with target.open("wb") as file, subprocess.Popen(["cat", source], stdout=subprocess.PIPE) as first:
        subprocess.run(["cat"], stdin=first.stdout, stdout=file, check=True)
    return {"mb_per_s": size / (time.perf_counter() - begin) / 1e6}


class Reader(Protocol):
    """Takes what was printed, in its order."""

    def take(self, data: bytes) -> None: ...


Carry = Callable[[Path, Sequence[str], Mapping[str, str], Reader], Awaitable[float]]
"""Has a node carry out a command, with these secrets, and gives the reader what it prints; how many seconds that took."""


async def followed(folder: Path, size: int, secrets: str, carry: Carry) -> Metrics:
    """One task that prints `size` bytes, and a reader of its log that keeps up. `secrets` is `none`, `ten`, or `pem`: ten of
    which one is a private key."""
    read = Counted()
    seconds = await carry(folder, ["cat", str(source_file(folder, size))], secret_inputs(folder, secrets), read)
    if read.size != size:
        raise BenchError(f"{read.size:,} bytes of {size:,} arrived")
    return {"mb_per_s": size / seconds / 1e6}


async def stamped(folder: Path, count: int, carry: Carry) -> Metrics:
    """How long a line takes from its program to the reader, with ten secrets."""
    read = Stamps()
    await carry(folder, [sys.executable, "-S", "-c", STAMPS.format(count=count)], SECRETS["ten"], read)
    if len(read.milliseconds) != count:
        raise BenchError(f"{len(read.milliseconds)} lines of {count} arrived")
    centiles = quantiles(read.milliseconds, n=100)
    return {"p50_ms": median(read.milliseconds), "p99_ms": centiles[98]}


class Counted:
    def __init__(self) -> None:
        self.size = 0

    def take(self, data: bytes) -> None:
        self.size += len(data)


class Stamps:
    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._rest = b""

    def take(self, data: bytes) -> None:
        now = time.monotonic_ns()
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.milliseconds += [(now - int(line.rpartition(b" ")[2])) / 1e6 for line in lines]


async def in_process(folder: Path, command: Sequence[str], secrets: Mapping[str, str], reader: Reader) -> float:
    """With a node in this process. Implements `Carry`."""
    from runner.node import open_run_node

    settings = load_settings(state_dir=folder / "state")
    inputs = tuple(Input(name=name, required=True, confidential=True) for name in secrets)
    task = Task(name=TASK, type="os_exec", spec={"command": list(command)})
    async with open_run_node(settings.run_dir("bench"), settings) as node:
        begin = time.perf_counter()
        id = node.engine.submit(TaskGroup(name="output", inputs=inputs, tasks=(task,)), secrets, workspace=str(folder))
        await _follow(node.logs, node.engine, AttemptId(id, TASK, 1), reader)
        seconds = time.perf_counter() - begin
        if node.engine.status(id) is not Status.SUCCESS:
            raise BenchError(f"the group ended {node.engine.status(id).value}")
        return seconds


async def _follow(logs: LogStore, engine: Engine, id: AttemptId, reader: Reader) -> None:
    grown = asyncio.Event()
    forget = [logs.subscribe(lambda _: grown.set()), engine.subscribe(id.group, grown.set)]
    position = 0
    over = False
    while not over:
        over = engine.status(id.group).terminal
        while frames := logs.frames(id, position):
            position = frames[-1].position
            for frame in frames:
                reader.take(frame.data)
        if not over:
            await grown.wait()
            grown.clear()
    for each in forget:
        each()


def source_file(folder: Path, size: int) -> Path:
    path = folder / "source"
    path.write_bytes(log_text(size))
    path.read_bytes()  # so that it is in memory for everybody
    return path


def secret_inputs(folder: Path, secrets: str) -> dict[str, str]:
    if secrets != "pem":
        return dict(SECRETS[secrets])
    openssl = shutil.which("openssl")
    if openssl is None:
        raise BenchError("openssl is needed to make a private key")
    key = subprocess.run([openssl, "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
    return {**SECRETS["ten"], "secret_0": key}
