"""Groups in flight: submitted, watched, paused, cancelled and asked for at random, always as many at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.client import AsyncClient, GroupFilter
from runner.errors import LimitError
from runner.model.event import Event, Kind
from runner.model.result import Status

LIFE_SECONDS = 40.0
"""How long a group lasts about, where nothing waits for a slot."""
_MOST_LIVES = 20
_LABELS = {"soak": "yes"}


class Load:
    """`faults` are what should not have happened."""

    def __init__(self, client: AsyncClient, *, groups: int, seed: int, life_seconds: float, folder: Path) -> None:
        """`folder` holds what is uploaded now and then."""
        self.faults: list[str] = []
        self.done: Counter[str] = Counter()
        self._client = client
        self._groups = groups
        self._chance = random.Random(seed)
        self._life_seconds = life_seconds
        self._folder = folder
        self._in_flight = 0
        self._flying: set[str] = set()
        self._ending = False

    def counts(self) -> tuple[int, int]:
        """How many are in flight, and over."""
        return self._in_flight, self.done["finished"]

    async def run(self, seconds: float) -> None:
        """Keep as many in flight for so long, then wait for the last of them."""
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(self._one_after_the_other()) for _ in range(self._groups)]
            asking = tasks.create_task(self._ask())
            await asyncio.sleep(seconds)
            self._ending = True
            asking.cancel()
            self.faults += await self._stuck(working)

    async def _stuck(self, working: Sequence[asyncio.Task[None]]) -> list[str]:
        """Give those in flight the time that they may take; what of them is not over then."""
        _, late = await asyncio.wait(working, timeout=self._life_seconds * _MOST_LIVES)
        for task in late:
            task.cancel()
        return [f"{id} is not over" for id in self._flying] if late else []

    async def _one_after_the_other(self) -> None:
        chance = random.Random(self._chance.random())
        await asyncio.sleep(chance.uniform(0, self._life_seconds / 2))
        while not self._ending:
            self._in_flight += 1
            try:
                await self._one(chance)
            except LimitError as error:
                self.faults.append(str(error))
                await asyncio.sleep(5)
            finally:
                self._in_flight -= 1
                self.done["finished"] += 1

    async def _one(self, chance: random.Random) -> None:
        client = self._client
        workspace = ""
        if chance.random() < 0.02:
            workspace = (await client.upload_workspace(self._folder)).workspace_id
            self.done["uploads"] += 1
        tasks = [_task(chance, f"t{number}", self._life_seconds) for number in range(chance.choice([1, 1, 2, 3]))]
        document = json.dumps({"name": "soak", "labels": _LABELS, "inputs": _INPUTS, "taskGroup": tasks})
        inputs = {"password": f"pass{chance.getrandbits(64):x}"}
        id = (await client.submit(document, inputs=inputs, workspace_id=workspace)).id
        self._flying.add(id)
        meddling = asyncio.ensure_future(self._meddle(chance, id, len(tasks)))
        try:
            wanted = await self._watched(chance, id)
        finally:
            meddling.cancel()
            (ended,) = await asyncio.gather(meddling, return_exceptions=True)
        self._flying.discard(id)
        if isinstance(ended, Exception):
            self.faults.append(f"{id}: {ended!r}")
        if chance.random() < 0.3:
            result = await client.result(id)
            if result.status.value != wanted or len(result.results) != len(tasks):
                self.faults.append(f"{id}: {wanted} was told, and then {result}")

    async def _watched(self, chance: random.Random, id: str) -> str:
        """Its status in the end. Every event comes once; now and then the watch is left and begun again."""
        last, output = 0, chance.random() < 0.5
        while True:
            leave = chance.randint(2, 6) if chance.random() < 0.2 else None
            async for happenings in self._client.watch_in_batches(id, after_event=last, output=output):
                for event in happenings:
                    if not isinstance(event, Event):
                        self.done["bytes"] += len(event.frame.data)
                        continue
                    if event.number != last + 1:
                        self.faults.append(f"{id}: event {event.number} behind {last}")
                    last = event.number
                    self.done["events"] += 1
                    if event.kind is Kind.GROUP_FINISHED:
                        self.done[str(event.fields["status"])] += 1
                        return str(event.fields["status"])
                leave = None if leave is None else leave - 1
                if leave == 0:
                    self.done["watches left"] += 1
                    break

    async def _meddle(self, chance: random.Random, id: str, tasks: int) -> None:
        what = chance.random()
        if what > 0.2:
            return
        await asyncio.sleep(chance.uniform(0, self._life_seconds / 2))
        if what < 0.12:
            await self._client.cancel(id, at_once=chance.random() < 0.2)
            self.done["cancels"] += 1
        else:
            task = f"t{chance.randrange(tasks)}"
            if await self._client.signal(id, task, "pause"):
                self.done["pauses"] += 1
                await asyncio.sleep(chance.uniform(0, self._life_seconds / 8))
            await self._client.signal(id, task, "start")

    async def _ask(self) -> None:
        """What somebody asks who looks on."""
        while True:
            await asyncio.sleep(2)
            before, listed = set(self._flying), set[str]()
            filter = GroupFilter(statuses=frozenset({Status.RUNNING, Status.PENDING}), labels=_LABELS)
            async for summary in self._client.list(filter):
                listed.add(summary.id)
            for id in (before & self._flying) - listed:
                if not (await self._client.summary(id)).status.terminal:
                    self.faults.append(f"{id} is not listed")
            described = await self._client.describe()
            self.done["lists"] += 1
            if described.groups > self._groups:
                self.faults.append(f"{described.groups} groups are told to be there")


_INPUTS = {"password": {"required": True, "confidential": True}}


def _task(chance: random.Random, name: str, life_seconds: float) -> Mapping[str, Any]:
    """Most of them sleep most of the time, as programs do that wait for others."""
    seconds = chance.expovariate(1 / (life_seconds / 2))
    kind = chance.choices(["sleeps", "prints", "fails", "exports", "leaves"], [6, 2, 1, 2, 0.2])[0]
    more: dict[str, Any] = {}
    command: str | Sequence[str]
    if kind == "sleeps":
        command = ["sleep", f"{seconds:.2f}"]
    elif kind == "prints":
        lines = int(10 ** chance.uniform(0, 4))
        command = f"echo $PASSWORD; seq {lines}; sleep {seconds:.2f}; echo it was $PASSWORD >&2"
    elif kind == "fails":
        command = f"echo tries; sleep {seconds / 3:.2f}; exit 3"
        more = {"retry": {"attempts": 2, "delay": 1}, "allow_failure": True}
    elif kind == "exports":
        command = f'sleep {seconds:.2f}; echo "value=$PASSWORD" >> $OUTPUT_FILE'
        more = {"exports": [{"name": "value", "scope": "global", "confidential": True}]}
    else:
        command = "sleep 1000 & echo leaves one"
    spec = {"command": command, "envs": {"PASSWORD": "{{ .inputs.password }}"}}
    return {"name": name, "type": "os_exec", "spec": spec, **more}
