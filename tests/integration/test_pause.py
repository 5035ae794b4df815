"""A task that is paused when its runner ends is paused in the next one, and goes on when it is told to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from runner.config import load_settings
from runner.engine.engine import Engine
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Status, Waiting
from runner.model.task import Task
from runner.node import open_node

WORKS = "echo $$ > pid; echo up > ready; while ! test -e enough; do sleep 0.02; done"


async def until(engine: Engine, holds: Callable[[], bool]) -> None:
    changed = asyncio.Event()
    leave = engine.subscribe("g", changed.set)
    try:
        async with asyncio.timeout(20):
            while not holds():
                changed.clear()
                await changed.wait()
    finally:
        leave()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_pause_outlives_the_runner(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    os.mkfifo(work / "ready")
    settings = load_settings({"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, state_dir=tmp_path / "state")
    task = Task(name="t", type="os_exec", spec={"command": WORKS}, timeout=60.0)

    def told(engine: Engine, kind: Kind) -> bool:
        return any(event.kind is kind for event in engine.events("g"))

    async def pause() -> int:
        async with open_node(settings) as node:
            node.engine.submit(TaskGroup(id="g", name="", tasks=(task,)), workspace=str(work))
            await asyncio.to_thread((work / "ready").read_text)
            await until(node.engine, lambda: told(node.engine, Kind.TASK_STARTED))
            assert node.engine.signal("g", "t", "pause")
            await until(node.engine, lambda: told(node.engine, Kind.TASK_PAUSED))
        return int((work / "pid").read_text())

    async def go_on(pid: int) -> None:
        async with open_node(settings) as node:
            # D is a shell in vfork, whose child was stopped before it could become another program.
            assert state_of(pid) in ("T", "D")
            assert node.engine.result("g").results["t"].waiting is Waiting.PAUSED
            (work / "enough").touch()
            while not told(node.engine, Kind.TASK_RESUMED):
                # It is passed on once the attempt has been found again.
                node.engine.signal("g", "t", "start")
                await asyncio.sleep(0.01)
            await until(node.engine, lambda: node.engine.status("g").terminal)
            result = node.engine.result("g")
            assert (result.status, result.results["t"].waiting) == (Status.SUCCESS, None)

    go_on_with = asyncio.run(pause())
    asyncio.run(go_on(go_on_with))
