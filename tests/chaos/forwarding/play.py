"""Plays one seed: two real nodes, the line between them, and what is done to them while a scene is on."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from runner.client.aio import AsyncClient
from runner.client.patience import Patience
from runner.config.service import Scope
from runner.errors import RunnerError
from runner.model.endpoint import Endpoint
from runner.tokens import Tokens
from runner.workspaces import FORSAKEN_SECONDS
from tests.chaos.forwarding.apart import EXECUTOR_ADDRESS, Street
from tests.chaos.forwarding.judge import Judge, secrets
from tests.chaos.forwarding.machine import LODGINGS, Machine, others
from tests.chaos.forwarding.proxy import Line
from tests.chaos.forwarding.scene import BEGUN, BEGUN_WHOLE, SECRET, Scene, doomed, doomed_whole
from tests.chaos.forwarding.weather import KILLS, Fault, Weather, plan, plan_apart

END_SECONDS = 90.0
"""How long groups may take once everything is as it should be."""
GROUP, WHOLE = "scene-1", "scene-2"
DOOMED, DOOMED_WHOLE = "doomed-1", "doomed-2"
"""Groups that are cancelled in the middle of it all."""
_DAY_SECONDS = 86400.0
_MOST_DAYS = 2.0
"""That a clock is wrong by, before or behind."""
_FORSAKEN_SECONDS = FORSAKEN_SECONDS + (2 * _MOST_DAYS + 1.0) * _DAY_SECONDS
GONE_SECONDS = 10.0
"""How long a process that was killed may take until it is gone."""


class Sabotage(NamedTuple):
    """Something is wrong with the product of one `side`: `code` is run there before each life. What the judge says of it does not hang on
    chance where the `faults` are given."""

    side: str = ""
    code: str = ""
    faults: Weather | None = None
    patience: float = END_SECONDS
    gone: float = GONE_SECONDS
    """How long what has to go may take."""

    def code_of(self, side: str) -> str:
        return self.code if side == self.side else ""


NONE = Sabotage()


def play(seed: int, sabotage: Sabotage = NONE, *, apart: bool = False, seen: Counter[str] | None = None) -> list[str]:
    """What went wrong. Where the nodes are `apart` each has a machine for itself, and who calls is alone (`apart.py`). What was judged is
    counted in `seen`."""
    folder = Path(tempfile.mkdtemp(prefix="forwarding-"))
    try:
        with ExitStack() as stack:
            street = stack.enter_context(Street()) if apart else None
            played = _Play(seed, folder, sabotage, street)
            faults = asyncio.run(played.faults())
            if seen is not None:
                seen.update(played.seen)
            return faults
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Play:
    def __init__(self, seed: int, folder: Path, sabotage: Sabotage, street: Street | None) -> None:
        self._seed = seed
        self._sabotage = sabotage
        self._folder = folder
        self._street = street
        self._weather = sabotage.faults or (plan_apart if street else plan)(seed)
        self._work = folder / "work"
        self._work.mkdir()
        self._scenes = {GROUP: Scene(work=str(self._work)), WHOLE: Scene(work=str(self._work), prefix="w", whole=True)}
        self._doomed = {DOOMED: doomed(str(self._work)), DOOMED_WHOLE: doomed_whole(str(self._work))}
        if street is None:  # as it was before there were others, so that a seed is what it was
            del self._scenes[WHOLE], self._doomed[DOOMED_WHOLE]
        for id, scene in self._scenes.items():
            scene.draw(random.Random(f"scene {seed}" if id == GROUP else f"{id} {seed}"))
        self._host = EXECUTOR_ADDRESS if street else "127.0.0.1"
        self._machines: dict[str, Machine] = {}
        self.seen: Counter[str] = Counter()

    async def faults(self) -> list[str]:
        try:
            executor = self._machine(
                "executor",
                'name = "onprem"\n[[rules]]\ncallers = ["cloud"]\nscopes = ["dispatch"]\n',
                f"{self._host}:0",
            )
            await asyncio.to_thread(executor.node.start)
            port = int(executor.node.addresses[-1].rpartition(":")[2])
            async with Line(port, self._host) as line:
                origin = self._machine("origin", self._config_of_origin(line.port))
                await asyncio.to_thread(origin.node.start)
                return await self._played(line)
        finally:
            for machine in self._machines.values():
                await asyncio.to_thread(machine.remove)

    async def _played(self, line: Line) -> list[str]:
        origin = self._machines["origin"].node
        async with AsyncClient(Endpoint(target=origin.socket), patience=Patience(call=60.0)) as client:
            before = await self._idle(client)
            for id, scene in self._scenes.items():
                await client.submit(json.dumps(scene.document), inputs={"secret": SECRET}, id=id)
            for id, document in self._doomed.items():
                await client.submit(json.dumps(document), id=id)
            async with asyncio.TaskGroup() as group:
                for id in self._doomed:
                    group.create_task(self._cancel(client, id))
                await self._do_all(line)
            judge = Judge(
                client, self._work, self._scenes, excuses=self._weather.excuses, patience=self._sabotage.patience
            )
            faults = await judge.faults(list(self._doomed))
            self.seen = judge.seen
            faults += await self._remains(before, judge)
            return [*faults, *await asyncio.to_thread(lambda: list(self._left(judge)))]

    def _machine(self, side: str, config: str, *listen: str) -> Machine:
        machine = self._machines[side] = Machine(
            self._folder / side,
            side,
            config,
            *listen,
            code=self._sabotage.code_of(side),
            keepalive=self._weather.keepalive,
            street=self._street,
        )
        return machine

    def _config_of_origin(self, port: int) -> str:
        token = self._folder / "origin.token"
        tokens = Tokens(self._machines["executor"].state)
        token.write_text(tokens.create("cloud", scopes=frozenset({Scope.DISPATCH}), now=time.time())[1])
        token.chmod(0o600)
        return (
            f'name = "cloud"\nlost_after = "{self._weather.lost_after:.0f}s"\n'
            f'[peers.onprem]\ntarget = "127.0.0.1:{port}"\ntoken_file = "{token}"\n'
        )

    async def _idle(self, client: AsyncClient) -> dict[str, Counter[str]]:
        """What both nodes have open when they have something behind them and nothing before them."""
        task = {"name": "first", "type": "os_exec", "spec": {"command": "echo something"}}
        tasks = [task, {**task, "name": "there", "forward": {"to": "onprem"}}]
        id = (await client.submit(json.dumps({"name": "first", "taskGroup": tasks}))).id
        end = time.monotonic() + self._sabotage.patience  # the judge says of others that they do not end
        # Asked, not watched: a stream is open for a while.
        while not (await client.result(id)).status.terminal and time.monotonic() < end:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)
        return {side: machine.descriptors() for side, machine in self._machines.items()}

    async def _cancel(self, client: AsyncClient, id: str) -> None:
        """At some time, whoever is there then; where something is wrong, not before there is something to cancel."""
        begun = self._work / (BEGUN if id == DOOMED else BEGUN_WHOLE)
        end = time.monotonic() + (self._sabotage.patience if self._sabotage.code else 0.0)
        while time.monotonic() < end and not begun.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
        name = f"cancel {self._seed}" if id == DOOMED else f"cancel {id} {self._seed}"
        await asyncio.sleep(random.Random(name).uniform(0.0, self._weather.seconds))
        while True:
            try:
                await client.cancel(id, at_once=id == DOOMED)
            except RunnerError:  # nobody is there, or he cannot write it down
                await asyncio.sleep(0.05)
                continue
            return

    # What is done to them.

    async def _do_all(self, line: Line) -> None:
        if any(fault.what == "restore" for fault in self._weather.faults):
            await asyncio.sleep(random.Random(f"backup {self._seed}").uniform(0.0, 0.5))
            await asyncio.to_thread(self._machines["executor"].back_up)
        for fault in self._weather.faults:
            await asyncio.sleep(fault.after)
            await self._do(fault, line)

    async def _do(self, fault: Fault, line: Line) -> None:
        what, _, side = fault.what.partition("-")
        if what in KILLS:
            machines = list(self._machines.values()) if what == "both" else [self._machines[what]]
            for machine in machines:
                machine.node.end()
            await asyncio.sleep(fault.lasts / 3)
            for machine in machines:
                await asyncio.to_thread(machine.node.start)
        elif what in ("full", "jump", "reboot", "restore"):
            await self._do_to(self._machines[side or "executor"], what, fault.lasts)
        elif what in ("drop", "deaf", "refuse", "narrow", "lost"):
            assert self._street is not None
            if what == "deaf":
                await asyncio.to_thread(self._street.deafen, side)
            else:
                await asyncio.to_thread(getattr(self._street, "drop" if what == "lost" else what))
            if what == "lost":
                line.cut()  # the origin would take three quarters of a minute to find out, and count from then
            await asyncio.sleep(fault.lasts)
            line.mend()
            await asyncio.to_thread(self._street.mend)
        else:
            getattr(line, what)()
            await asyncio.sleep(fault.lasts)
            line.mend()

    async def _do_to(self, machine: Machine, what: str, seconds: float) -> None:
        if what == "jump":
            machine.jump(random.Random(f"clock {self._seed} {seconds}").uniform(-_MOST_DAYS, _MOST_DAYS) * _DAY_SECONDS)
        elif what == "full":
            await asyncio.to_thread(machine.fill)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(machine.free)
        else:
            await asyncio.to_thread(machine.crash)
            if what == "restore":
                await asyncio.to_thread(machine.restore)
            await asyncio.sleep(seconds / 3)
            await asyncio.to_thread(machine.node.start)

    # Judging.

    async def _remains(self, before: dict[str, Counter[str]], judge: Judge) -> list[str]:
        """What is open beyond what was before anything happened, and files that nobody needs any more."""
        while True:
            more = {side: machine.descriptors() - before[side] for side, machine in self._machines.items()}
            left = {side: await asyncio.to_thread(machine.left) for side, machine in self._machines.items()}
            needless = {side: [path for path in paths if not path.startswith(LODGINGS)] for side, paths in left.items()}
            if not any((*more.values(), *needless.values())) or judge.is_late:
                break
            await asyncio.sleep(0.1)
        self.seen["workspaces forsaken"] += sum(path.endswith(".seen") for path in left["executor"])
        faults = [f"the {side} has open: {dict(open)}" for side, open in more.items() if open]
        faults += [f"the {side} has left {paths}" for side, paths in needless.items() if paths]
        if self._street is not None and not faults:
            faults += await asyncio.to_thread(lambda: list(self._left_behind_a_week()))
        return faults

    def _left_behind_a_week(self) -> Iterator[str]:
        """That a group is over its executor may never hear, and keeps the workspace for so long."""
        machine = self._machines["executor"]
        machine.jump(_FORSAKEN_SECONDS)
        machine.node.end()
        machine.node.start()
        end = time.monotonic() + self._sabotage.gone
        while (paths := machine.left()) and time.monotonic() < end:
            time.sleep(0.05)
        if paths:
            yield f"the executor has left for more than a week {paths}"

    def _left(self, judge: Judge) -> Iterator[str]:
        """What is there when both nodes are gone."""
        for machine in self._machines.values():
            machine.node.remove() if self._street else machine.node.end()
        yield from secrets(*(machine.folder for machine in self._machines.values()))
        yield from judge.processes()
        if self._street is not None:
            yield from secrets(Path("/dev/shm"))
            end = time.monotonic() + self._sabotage.gone
            while any(others()) and time.monotonic() < end:
                time.sleep(0.01)
            for pid in others():
                with suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    yield f"process {pid} is left: {words[:200]}"
