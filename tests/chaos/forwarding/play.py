"""Plays one seed: two real nodes, the line between them, and what is done to them while a scene is on."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.client.aio import AsyncClient
from runner.client.patience import Patience
from runner.config.service import Scope
from runner.errors import UnreachableError
from runner.model.endpoint import Endpoint
from runner.model.result import TaskGroupResult
from runner.tokens import Tokens
from tests.acceptance.mortal import Node
from tests.chaos.forwarding.proxy import Line
from tests.chaos.forwarding.scene import BEGUN, SECRET, Part, Scene, doomed

END_SECONDS = 90.0
"""How long a group may take once everything is as it should be."""
GROUP = "scene-1"
DOOMED = "doomed-1"
"""A group that is cancelled in the middle of it all."""

KILLS = ("origin", "executor", "both")
FAULTS = (*KILLS, *KILLS, "cut", "cut", "reset", "stall", "slow")


class Fault(NamedTuple):
    """After so many seconds; what lasts, lasts for so many."""

    after: float
    what: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.what} at +{self.after:.2f} s for {self.lasts:.2f} s"


class Sabotage(NamedTuple):
    """Something is wrong with the product of one `side`: `code` is run there before each life. What the judge says of it does not hang on
    chance where the `faults` are given."""

    side: str = ""
    code: str = ""
    faults: Sequence[Fault] | None = None
    patience: float = END_SECONDS

    def before(self, side: str) -> Sequence[str]:
        """A command that becomes a node of this side."""
        if side != self.side:
            return ()
        # What follows it are the arguments of a Python that was told its program with -c.
        become = "import sys; program = sys.argv[3]; sys.argv = ['-c', *sys.argv[4:]]; exec(program)"
        return (sys.executable, "-c", f"{self.code}\n{become}")


NONE = Sabotage()


def _spellings(secret: bytes) -> Iterator[bytes]:
    """Raw, in hex, and what is the same of it in base64 wherever it begins."""
    yield secret
    yield secret.hex().encode()
    for before in range(3):
        whole = len(secret) - (3 - before) % 3
        yield base64.b64encode(secret[(3 - before) % 3 :][: whole - whole % 3])


def plan(seed: int) -> list[Fault]:
    chance = random.Random(f"faults {seed}")
    return [
        Fault(chance.uniform(0.0, 0.9), chance.choice(FAULTS), chance.uniform(0.05, 1.5))
        for _ in range(chance.randint(3, 6))
    ]


def play(seed: int, sabotage: Sabotage = NONE) -> list[str]:
    """What went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="forwarding-"))
    try:
        return asyncio.run(_Play(seed, folder, sabotage).faults())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Play:
    def __init__(self, seed: int, folder: Path, sabotage: Sabotage) -> None:
        self._seed = seed
        self._sabotage = sabotage
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
            folder / "executor" / "state",
            "127.0.0.1:0",
            options=["--config", str(config), "--name", "onprem"],
            before=sabotage.before("executor"),
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
                    await client.submit(json.dumps(doomed(str(self._work))), id=DOOMED)
                    faults = plan(self._seed) if self._sabotage.faults is None else self._sabotage.faults
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._cancel(client, sum(fault.after + fault.lasts for fault in faults)))
                        for fault in faults:
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
        return Node(folder / "state", options=["--config", str(config)], before=self._sabotage.before("origin"))

    async def _cancel(self, client: AsyncClient, seconds: float) -> None:
        """At some time of so many seconds, whoever is there then; where something is wrong, not before there is something to cancel."""
        end = time.monotonic() + (self._sabotage.patience if self._sabotage.code else 0.0)
        while time.monotonic() < end and not (self._work / BEGUN).exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
        await asyncio.sleep(random.Random(f"cancel {self._seed}").uniform(0.0, seconds))
        while True:
            try:
                await client.cancel(DOOMED, at_once=True)
            except UnreachableError:
                continue
            return

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
        end = time.monotonic() + self._sabotage.patience
        ended = {}
        for id in (GROUP, DOOMED):
            while not (result := await client.result(id)).status.terminal:
                if time.monotonic() > end:
                    waits = {name: task.waiting or task.status for name, task in result.results.items()}
                    return [f"the group {id} does not end: {waits}"]
                await asyncio.sleep(0.05)
            ended[id] = result
        result = ended[GROUP]
        faults = [*self._starts(), *self._outcomes(result)]
        if ended[DOOMED].status.value != "aborted":
            faults.append(f"the group that was cancelled is {ended[DOOMED].status}")
        while any(self._processes()) and time.monotonic() < end:  # noqa: ASYNC110 - of what was cancelled unheard
            await asyncio.sleep(0.05)
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
                    content = path.read_bytes() if path.is_file() else b""
                    if any(spelt in content for spelt in _spellings(SECRET.encode())):
                        yield f"the secret stands in {path}"

    def _processes(self) -> Iterator[str]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.fsencode(self._work) in (entry / "cmdline").read_bytes():
                        yield f"process {entry.name} of a task is alive"
