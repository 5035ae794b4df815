"""A task that is paused when its runner ends, or is killed, is paused in the next one, and goes on when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.config import Settings, load_settings
from runner.dispatch.local import LocalDispatcher
from runner.dispatch.reports import Reports
from runner.engine.engine import Engine
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Status, Waiting
from runner.model.task import Task
from runner.node import open_node
from tests.chaos.judge import end_supervisor
from tests.chaos.play import in_a_process

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


def told(engine: Engine, kind: Kind) -> int:
    return sum(event.kind is kind for event in engine.events("g"))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    work = tmp_path / "work"
    work.mkdir()
    os.mkfifo(work / "ready")
    state = tmp_path / "state"
    yield load_settings({"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, state_dir=state)
    end_supervisor(state)


async def pause(settings: Settings, work: Path) -> None:
    task = Task(name="t", type="os_exec", spec={"command": WORKS}, timeout=60.0)
    async with open_node(settings) as node:
        node.engine.submit(TaskGroup(id="g", name="", tasks=(task,)), workspace=str(work))
        await asyncio.to_thread((work / "ready").read_text)
        await until(node.engine, lambda: told(node.engine, Kind.TASK_STARTED) == 1)
        assert node.engine.signal("g", "t", "pause")
        await until(node.engine, lambda: told(node.engine, Kind.TASK_PAUSED) == 1)


async def go_on(settings: Settings, work: Path) -> None:
    async with open_node(settings) as node:
        await until(node.engine, lambda: told(node.engine, Kind.TASK_PAUSED) == 1)
        # D is a shell in vfork, whose child was stopped before it could become another program.
        pid = int((work / "pid").read_text())
        async with asyncio.timeout(20):  # the signal may still be on its way to a process that runs
            while state_of(pid) not in ("T", "D"):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
        assert node.engine.result("g").results["t"].waiting is Waiting.PAUSED
        (work / "enough").touch()
        assert node.engine.signal("g", "t", "start")
        await until(node.engine, lambda: node.engine.status("g").terminal)
        result = node.engine.result("g")
        assert (result.status, result.results["t"].waiting) == (Status.SUCCESS, None)
        assert told(node.engine, Kind.TASK_PAUSED) == told(node.engine, Kind.TASK_RESUMED) == 1


def test_a_pause_outlives_the_runner(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(pause(settings, tmp_path / "work"))
    asyncio.run(go_on(settings, tmp_path / "work"))


@pytest.mark.parametrize("moment", ["before it is passed on", "before it is told"])
def test_a_pause_outlives_a_runner_that_is_killed(settings: Settings, tmp_path: Path, moment: str) -> None:
    """It was written down before anything else was done about it."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def killed() -> None:
        owner, name = (Reports, "happened") if moment == "before it is told" else (LocalDispatcher, "signal")
        pytest.MonkeyPatch().setattr(owner, name, die)
        asyncio.run(pause(settings, tmp_path / "work"))

    status, words = in_a_process(killed)
    assert status == -signal.SIGKILL, words
    asyncio.run(go_on(settings, tmp_path / "work"))
