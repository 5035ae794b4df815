"""Supervisors that contain by control groups, and one whose table is driven from the test."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from runner.process.host import SupervisorHost
from runner.process.supervisor import cgroups
from tests import hostile

ROOT = Path(__file__).parents[3]
Scenario = Callable[[SupervisorHost], Awaitable[None]]

# The supervisor's table, driven from here, so that it is known who was put into a control group when.
DIRECT = """
import json, os, select, sys, time
from runner.process.supervisor import cgroups, subreaper
from runner.process.supervisor.children import Program
from runner.process.supervisor.output import Outputs
from runner.process.supervisor.table import Table
from tests import hostile

assert subreaper.become()
incarnation = os.urandom(16).hex()
room = cgroups.Room.open(incarnation)
outputs = Outputs(select.epoll(), lambda message, descriptors: None, os.close)
table = Table(incarnation, lambda record: None, outputs, room=room)

def start(key, argv):
    return table.spawn(key, Program(argv, dict(os.environ), "/"), None, 1.0)

def start_ready(key, code):
    record = start(key, hostile.python(code))
    said = b""
    while b"\\n" not in said:
        select.select([record.pipes[0].descriptor], [], [])
        said += os.read(record.pipes[0].descriptor, 100)
    return record, hostile.pid_said(said)

def escape(key):
    record, pid = start_ready(key, hostile.ESCAPES)
    while open(f"/proc/{pid}/environ", "rb").read():
        time.sleep(0.002)
    return record, pid

def turn():
    table.reap()
    table.run_due()
    time.sleep(0.002)

def settled(*records):
    while table.next_due() is not None:  # nobody has a deadline, so that it is this that is still to be done
        turn()
    return [record.contained for record in records]

def end(*records):
    for record in records:
        table.stop(record, 0.5)
    while not all(record.exit for record in records):
        turn()
    return [record.exit["kill"] for record in records]

def tell(**facts):
    table.stop_all(0.0)
    while table.running:
        turn()
    table.close()
    print(json.dumps({**facts, "rooms": hostile.rooms(incarnation)}))
"""


def direct(script: str) -> dict[str, Any]:
    """What the script tells. It leaves no control group."""
    done = subprocess.run(
        [sys.executable, "-c", DIRECT + script], cwd=ROOT, capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("rooms") == []
    return dict(told)


def play(folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(30),
            await SupervisorHost.start_private(folder, containment="cgroup2") as host,
        ):
            await scenario(host)
        assert hostile.rooms(host.incarnation) == []

    asyncio.run(main())


async def until_held(host: SupervisorHost, pid: int) -> str:
    """The control group that a process is put into."""
    while host.incarnation not in (name := cgroups.name_of(pid) or ""):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.002)
    return name


async def until_removed(host: SupervisorHost) -> None:
    """Until no attempt of this supervisor has a control group."""
    while any(path.is_dir() for room in hostile.rooms(host.incarnation) for path in Path(room).glob("*")):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.002)
