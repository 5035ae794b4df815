"""Programs that do not want to end, ended in every way, at every moment, under every containment: what is left of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drivers.base import ProcessExit
from runner.errors import ProcessHostError
from runner.process import remains
from runner.process.host import SupervisorHost
from runner.process.launch import Containment
from runner.process.supervised import SupervisedProcess
from runner.process.supervisor import cgroups
from tests import hostile
from tests.contract.process_labs import Sink, program

Way = Literal["stop", "second stop", "destroy", "timeout", "forget", "end of the runner", "death of the supervisor"]
Moment = Literal["at once", "while it starts", "once it is ready"]

WAYS: Sequence[Way] = (
    "stop",
    "second stop",
    "destroy",
    "timeout",
    "forget",
    "end of the runner",
    "death of the supervisor",
)
MOMENTS: Sequence[Moment] = ("at once", "while it starts", "once it is ready")
START_SECONDS = 0.08
"""All of them are ready by then, mostly."""
_GRACE_SECONDS = 0.1
_LONGEST_SECONDS = 40.0


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One scenario. `seed` is for the moment."""

    program: str
    way: Way
    moment: Moment
    containment: Containment
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.containment}: what {self.program!r}, {self.way}, {self.moment}"


def everything() -> Sequence[Stop]:
    """Every combination that can be had here, in an order of no meaning but always the same."""
    containments: list[Containment] = ["marker"]
    try:
        cgroups.Room.open("0" * 32).close()
        containments.append("cgroup2")
    except cgroups.UnavailableError:
        pass
    combined = list(itertools.product(hostile.PROGRAMS, WAYS, MOMENTS, containments))
    random.Random(0).shuffle(combined)
    return [
        Stop(program=program, way=way, moment=moment, containment=containment, seed=seed)
        for seed, (program, way, moment, containment) in enumerate(combined)
    ]


def play(stop: Stop) -> list[str]:
    """What was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        return asyncio.run(_played(stop, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _played(stop: Stop, folder: Path) -> list[str]:
    async with _host(folder, stop.containment) as host:
        incarnation = host.incarnation
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                faults = [*await _stopped(stop, host), *_left(incarnation)]
        except TimeoutError:
            faults = ["it takes too long"]
        remains.end(incarnation)  # it has been told, and nobody else will
    return [*faults, *(f"{room} was left" for room in hostile.rooms(incarnation))]


@asynccontextmanager
async def _host(folder: Path, containment: Containment) -> AsyncIterator[SupervisorHost]:
    host = await SupervisorHost.start_private(folder, containment=containment)
    try:
        yield host
    finally:
        await host.aclose()


async def _stopped(stop: Stop, host: SupervisorHost) -> list[str]:
    chance = random.Random(stop.seed)
    seconds = {"at once": 0.0, "while it starts": chance.uniform(0.0, START_SECONDS), "once it is ready": 0.5}
    timeout = max(0.001, seconds[stop.moment]) if stop.way == "timeout" else None
    sink = Sink()
    spec = program(hostile.command(stop.program), timeout=timeout, grace=_GRACE_SECONDS)
    starting = asyncio.ensure_future(host.spawn("k", spec, sink))
    if stop.moment == "at once":
        await asyncio.sleep(0)  # it is on its way
    else:
        await starting
        if stop.moment == "once it is ready":
            await sink.until(b"ready ")
        elif timeout is None:
            await asyncio.sleep(seconds[stop.moment])
    if stop.way == "end of the runner":
        await host.aclose()
        starting.cancel()
        return []
    if stop.way == "death of the supervisor":
        os.kill(host.pid, signal.SIGKILL)
        return await _without_a_supervisor(host, starting)
    await _ask(stop.way, host)
    process = await starting
    if stop.way == "forget":
        return [f"it remembers {await host.list()}"] if await host.list() else []
    return list(_told(stop, await process.wait()))


async def _ask(way: Way, host: SupervisorHost) -> None:
    if way == "stop":
        await host.stop("k", _GRACE_SECONDS)
    elif way == "second stop":
        await host.stop("k", 1000.0)
        await host.stop("k", 0.0)
    elif way == "destroy":
        await host.signal("k", "destroy")
    elif way == "forget":
        await host.forget("k")


async def _without_a_supervisor(host: SupervisorHost, starting: asyncio.Future[SupervisedProcess]) -> list[str]:
    """Its processes are the runner's to end, once it has heard of it."""
    try:
        await starting
        await host.list()
    except ProcessHostError:
        pass
    report = await host.end_former(host.incarnation)
    return [f"some are left: {report}"] if report is not None and report["left"] else []


def _told(stop: Stop, exit: ProcessExit) -> Iterator[str]:
    """Whether the exit and the kill report say what is so."""
    if exit.cause != ("timeout" if stop.way == "timeout" else "stopped"):
        yield f"it ended by {exit.cause}"
    if exit.kill is None:
        yield "there is no kill report"
        return
    if exit.kill["left"]:
        yield f"some are left: {exit.kill['left']}"
    # Of a loop of forks that is too fast nothing is claimed.
    if exit.kill["containment"] != stop.containment and "again and again" not in stop.program:
        yield f"it was contained by {exit.kill['containment']}"
    if exit.kill.get("survivors") != (0 if exit.kill["containment"] == "cgroup2" else None):
        yield f"it claims {exit.kill.get('survivors')} survivors under {exit.kill['containment']}"


def _left(incarnation: str) -> Iterator[str]:
    for described in hostile.alive(incarnation):
        yield f"alive: {described}"
