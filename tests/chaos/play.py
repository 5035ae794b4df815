"""Plays a scene: one life of the node after the other, each of them killed at its point, until one survives."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.chaos import judge, sabotage, supervisor
from tests.chaos.life import NotOpenedError, live, settings_of
from tests.chaos.sabotage import Point
from tests.chaos.scene import ALONE, Scene

LIFE_SECONDS = 60.0
"""How long a life may take before it counts as stuck."""

NOT_OPENED = 3

MOST_CALLS = {sabotage.ANY: 240, sabotage.MESSAGE: 50, sabotage.FILE: 170, sabotage.COMMIT: 35, sabotage.PROCESS: 2}
"""About how many a life of a runner has."""
MOST_CALLS_OF_SUPERVISORS = {sabotage.ANY: 150, sabotage.MESSAGE: 50, sabotage.FILE: 60, sabotage.PROCESS: 30}
MOST_MILLISECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`lives` of the runner and `supervisors` are when each is killed; the one after the last is left alone."""

    scene: Scene
    lives: Sequence[Point] = ()
    supervisors: Sequence[Point] = ()

    def __str__(self) -> str:
        groups = ", ".join(f"{group.id} ({' '.join(group.tasks)})" for group in self.scene.groups)
        lives, supervisors = (" ".join(map(str, points)) or "none" for points in (self.lives, self.supervisors))
        return f"groups {groups}; runners killed: {lives}; supervisors killed: {supervisors}"


@dataclass(kw_only=True)
class Played:
    """What came of it."""

    runners_killed: int = 0
    supervisors_killed: int = 0
    faults: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What each life said, for whoever looks for the cause."""


def random_points(chance: random.Random, most: dict[str, int]) -> Sequence[Point]:
    return [_random_point(chance, most) for _ in range(chance.choice([1, 1, 2, 2, 3, 5]))]


def _random_point(chance: random.Random, most: dict[str, int]) -> Point:
    if chance.random() < 0.15:
        return Point(sabotage.TIME, chance.randint(1, MOST_MILLISECONDS))
    kind = chance.choice(list(most))
    mode = (
        chance.choice(sabotage.MODES)
        if kind in (sabotage.MESSAGE, sabotage.FILE)
        else chance.choice(("before", "after"))
    )
    return Point(kind, chance.randint(1, max(2, most[kind] // (4 if mode == "half" else 1))), mode)


def play(plan: Plan) -> Played:
    played = Played()
    with a_folder() as folder:
        state, outside = folder / "state", folder / "outside"
        outside.mkdir()
        for group in plan.scene.groups:
            group.write(outside)
        python = supervisor.make(folder, plan.supervisors) if plan.supervisors else None

        def work() -> None:
            if python is not None:
                sys.executable = str(python)
            try:
                asyncio.run(live(state, outside, plan.scene.groups))
            except NotOpenedError:
                os._exit(NOT_OPENED)

        points = [*plan.lives, *[sabotage.NEVER] * (1 + len(plan.supervisors))]
        for point in points:
            status, words = in_a_process(work, point)
            played.told.append(f"life {point} ended with {status}: {words}")
            if "never retrieved" in words:
                played.faults.append(f"life {point} lost an error")
            if status == 0:
                break
            if status == NOT_OPENED and plan.supervisors:
                continue
            if status not in (-signal.SIGKILL, -signal.SIGALRM):
                played.faults.append(played.told[-1])
                break
            played.runners_killed += 1
            (outside / ALONE).touch()
        played.supervisors_killed = supervisor.kills(folder, plan.supervisors, state / "supervisor.log")
        if not played.faults:
            judged = judge.Judge(plan.scene, state, outside, usual_descriptors(), folder / supervisor.STARTED)
            status, words = in_a_process(judged.tell)
            played.faults += [words] if status else words.splitlines()
        judge.end_supervisor(state)
        shutil.rmtree(settings_of(state).temp_dir(state), ignore_errors=True)
    return played


@cache
def usual_descriptors() -> int:
    with a_folder() as folder:
        return judge.usual_descriptors(folder)


@contextmanager
def a_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_a_process(work: Callable[[], object], point: Point = sabotage.NEVER) -> tuple[int, str]:
    """Do `work` in a process of its own that is killed at `point`: its exit status, and what it said."""
    pid, listen = begin(work, point)
    words = _listened(listen, pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(listen)
    return status, words


def begin(work: Callable[[], object], point: Point = sabotage.NEVER) -> tuple[int, int]:
    """As `in_a_process`, without waiting: the number of the process, and the pipe that ends with what it says."""
    listen, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, point, tell)
    os.close(tell)
    return pid, listen


def _child(work: Callable[[], object], point: Point, tell: int) -> None:
    status = 1
    try:
        os.dup2(tell, 1)
        os.dup2(tell, 2)
        faulthandler.enable(2)
        if point.number:
            sabotage.arm(point, tell)
        work()
        sys.stdout.flush()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        os.write(tell, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _listened(listen: int, pid: int) -> str:
    """What it says until its end. One that is stuck says where."""
    until = time.monotonic() + LIFE_SECONDS
    said = bytearray()
    while True:
        ready, _, _ = select.select([listen], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGABRT)
            until += LIFE_SECONDS
        elif data := os.read(listen, 65536):
            said += data
        else:
            return said.decode(errors="replace")
