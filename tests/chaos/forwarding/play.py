"""Plays one seed: two real nodes, the line between them, and what is done to them while a scene is on."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.client.aio import AsyncClient
from runner.client.patience import Patience
from runner.config.service import Scope
from runner.model.endpoint import Endpoint
from runner.model.result import TaskGroupResult
from runner.tokens import Tokens
from tests.acceptance.mortal import Node
from tests.chaos.forwarding.proxy import Line
from tests.chaos.forwarding.scene import SECRET, Part, Scene

END_SECONDS = 90.0
"""How long a group may take once everything is as it should be."""
GROUP = "scene-1"

KILLS = ("origin", "executor", "both")
FAULTS = (*KILLS, *KILLS, "cut", "cut", "reset", "stall", "slow")


class Fault(NamedTuple):
    """After so many seconds; what lasts, lasts for so many."""

    after: float
    what: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.what} at +{self.after:.2f} s for {self.lasts:.2f} s"


def plan(seed: int) -> list[Fault]:
    chance = random.Random(f"faults {seed}")
    return [
        Fault(chance.uniform(0.0, 0.9), chance.choice(FAULTS), chance.uniform(0.05, 1.5))
        for _ in range(chance.randint(3, 6))
    ]


def play(seed: int) -> list[str]:
    """What went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="forwarding-"))
    try:
        return asyncio.run(_Play(seed, folder).faults())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Play:
    def __init__(self, seed: int, folder: Path) -> None:
        self._seed = seed
        self._folder = folder
        self._work = folder / "work"
        self._work.mkdir()
        self._scene = Scene(work=str(self._work))
        self._scene.draw(random.Random(f"scene {seed}"))
        for name in ("origin", "executor"):
            (folder / name).mkdir()
        config = folder / "executor" / "runner.toml"
        config.write_text('[[rules]]\ncallers = ["cloud"]\nscopes = ["dispatch"]\n')
        self._executor = Node(
            folder / "executor" / "state", "127.0.0.1:0", options=["--config", str(config), "--name", "onprem"]
        )
        self._origin: Node | None = None

    async def faults(self) -> list[str]:
        await asyncio.to_thread(self._executor.start)
        try:
            port = int(self._executor.addresses[-1].rpartition(":")[2])
            async with Line(port) as line:
                origin = self._origin = self._new_origin(line.port)
                await asyncio.to_thread(origin.start)
                async with AsyncClient(Endpoint(target=origin.socket), patience=Patience(call=60.0)) as client:
                    await client.submit(json.dumps(self._scene.document), inputs={"secret": SECRET}, id=GROUP)
                    for fault in plan(self._seed):
                        await asyncio.sleep(fault.after)
                        await self._do(fault, line)
                    return await self._judge(client)
        finally:
            if self._origin is not None:
                await asyncio.to_thread(self._origin.remove)
            await asyncio.to_thread(self._executor.remove)

    def _new_origin(self, port: int) -> Node:
        folder = self._folder / "origin"
        token = folder / "token"
        tokens = Tokens(self._folder / "executor" / "state")
        token.write_text(tokens.create("cloud", scopes=frozenset({Scope.DISPATCH}), now=time.time())[1])
        token.chmod(0o600)
        config = folder / "runner.toml"
        config.write_text(
            f'name = "cloud"\nlost_after = "10m"\n[peers.onprem]\ntarget = "127.0.0.1:{port}"\ntoken_file = "{token}"\n'
        )
        return Node(folder / "state", options=["--config", str(config)])

    async def _do(self, fault: Fault, line: Line) -> None:
        if fault.what in KILLS:
            assert self._origin is not None
            both = [self._origin, self._executor]
            nodes = {"origin": both[:1], "executor": both[1:]}.get(fault.what, [self._origin, self._executor])
            for node in nodes:
                assert node is not None
                node.end()
            await asyncio.sleep(fault.lasts / 3)
            for node in nodes:
                assert node is not None
                await asyncio.to_thread(node.start)
            return
        getattr(line, fault.what)()
        await asyncio.sleep(fault.lasts)
        line.mend()

    # Judging.

    async def _judge(self, client: AsyncClient) -> list[str]:
        end = time.monotonic() + END_SECONDS
        while not (result := await client.result(GROUP)).status.terminal:
            if time.monotonic() > end:
                waits = {name: task.waiting or task.status for name, task in result.results.items()}
                return [f"the group does not end: {waits}"]
            await asyncio.sleep(0.05)
        faults = [*self._starts(), *self._outcomes(result)]
        for part in self._scene.parts:
            faults += [fault async for fault in self._log(client, part)]
        faults += await self._events(client)
        await asyncio.to_thread(self._end)
        return [*faults, *self._secrets(), *self._processes()]

    def _starts(self) -> Iterator[str]:
        path = self._work / "started"
        started = Counter(path.read_text().splitlines()) if path.exists() else Counter()
        expected = Counter(f"{part.name} {attempt + 1}" for part in self._scene.parts for attempt in range(part.starts))
        for name in sorted(expected | started):
            if started[name] != expected[name]:
                yield f"{name} was started {started[name]} times in place of {expected[name]}"

    def _outcomes(self, result: TaskGroupResult) -> Iterator[str]:
        if result.status.value != "success":
            yield f"the group is {result.status}"
        for part in self._scene.parts:
            task = result.results[part.name]
            told = (task.status.value, task.exit_code, task.attempts)
            if told != (part.status, part.exit_code, part.starts):
                yield f"{part.name} is {told} ({task.reason}, {task.error}) in place of {(part.status, part.exit_code, part.starts)}"
            runner = "onprem" if "forward" in part.document else "cloud"
            if task.runner != runner:
                yield f"{part.name} ran on {task.runner} in place of {runner}"

    async def _log(self, client: AsyncClient, part: Part) -> AsyncIterator[str]:
        said = [chunk.frame.data async for chunk in client.logs(GROUP, part.name, stream="stdout")]
        if b"".join(said) != part.printed:
            yield f"{part.name} has printed {b''.join(said)[-300:]!r} in place of {part.printed[-300:]!r}"

    async def _events(self, client: AsyncClient) -> list[str]:
        told = [event async for piece in client.events(GROUP) for event in piece]
        numbers = [event.number for event in told]
        faults = [] if numbers == list(range(1, len(told) + 1)) else [f"the events are numbered {numbers}"]
        starts = Counter((event.task, event.attempt) for event in told if event.kind == "task_started")
        return faults + [f"the start of {id} was told {count} times" for id, count in starts.items() if count != 1]

    def _end(self) -> None:
        assert self._origin is not None
        self._origin.end()
        self._executor.end()

    def _secrets(self) -> Iterator[str]:
        for side in ("origin", "executor"):
            for path in (self._folder / side).rglob("*"):
                with suppress(OSError):
                    if path.is_file() and SECRET.encode() in path.read_bytes():
                        yield f"the secret stands in {path}"

    def _processes(self) -> Iterator[str]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.fsencode(self._work) in (entry / "cmdline").read_bytes():
                        yield f"process {entry.name} of a task is alive"
