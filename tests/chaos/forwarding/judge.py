"""What has to hold when everything is over, whatever was done to two nodes and their line."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runner.client.aio import AsyncClient
from runner.model.result import Status, TaskGroupResult, TaskResult
from tests.chaos.forwarding.scene import SECRET, STARTED, Part, Scene

_LOST = ("host_restarted", "runner_lost", "supervisor_lost")
"""Reasons for which nothing is tried again unless it says so, for nobody knows what it did."""
_OUTCOMES = ("task_finished", "task_retrying", "task_skipped")


class Judge:
    """`scenes` by their groups' ids; for one of the `excuses` of its runner a task may be without its outcome. What is said has to be true
    within so many seconds (`patience`)."""

    def __init__(
        self,
        client: AsyncClient,
        work: Path,
        scenes: Mapping[str, Scene],
        *,
        excuses: Mapping[str, frozenset[str]],
        patience: float,
    ) -> None:
        self._client = client
        self._work = work
        self._scenes = scenes
        self._excuses = excuses
        self.seen: Counter[str] = Counter()
        """What was there to be judged."""
        self._end = time.monotonic() + patience

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self._end

    async def faults(self, doomed: Sequence[str]) -> list[str]:
        """`doomed` are the groups that were cancelled."""
        ended = {}
        for id in (*self._scenes, *doomed):
            while not (result := await self._client.result(id)).status.terminal:
                if self.is_late:
                    waits = {name: task.waiting or task.status for name, task in result.results.items()}
                    return [f"the group {id} does not end: {waits}"]
                await asyncio.sleep(0.05)
            ended[id] = result
        while any(self.processes()) and not self.is_late:  # noqa: ASYNC110 - of what was cancelled unheard
            await asyncio.sleep(0.05)
        excused = {id: self._excused(scene, ended[id]) for id, scene in self._scenes.items()}
        faults = [*self._starts(frozenset().union(*excused.values()))]
        for id in doomed:
            faults += self._cancelled(ended[id])
        for id, scene in self._scenes.items():
            faults += self._outcomes(scene, ended[id], excused[id])
            for part in scene.parts:
                faults += await self._log(id, part, ended[id].results[part.name])
        for id in ended:
            faults += await self._events(id)
        return faults

    def _started(self) -> Counter[str]:
        path = self._work / STARTED
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    def _starts(self, excused: frozenset[str]) -> Iterator[str]:
        started = self._started()
        parts = [part for scene in self._scenes.values() for part in scene.parts]
        expected = Counter(f"{part.name} {attempt + 1}" for part in parts for attempt in range(part.starts))
        for start in sorted(expected | started):
            name = start.split()[0]
            if name in ("far", "clean"):  # of those that were cancelled
                continue
            least = 0 if name in excused else expected[start]
            if not least <= started[start] <= expected[start]:
                yield f"{start} was started {started[start]} times in place of {expected[start]}"

    def _excused(self, scene: Scene, result: TaskGroupResult) -> frozenset[str]:
        """The tasks that may be without the outcome that they would have had, with those that are skipped because of them."""
        found = {part.name for part in scene.parts if self._is_excused(part, result.results[part.name])}
        for part in scene.parts:  # in an order in which none stands before what it waits for
            if result.results[part.name].status is Status.SKIPPED and found.intersection(part.after):
                found.add(part.name)
        return frozenset(found)

    def _outcomes(self, scene: Scene, result: TaskGroupResult, excused: frozenset[str]) -> Iterator[str]:
        self.seen["tasks"] += len(scene.parts)
        self.seen["tasks excused"] += len(excused)
        if result.status.value != scene.status and not (excused and result.status is Status.ERRORED):
            yield f"the group is {result.status} ({result.reason}) in place of {scene.status}"
        for part in scene.parts:
            task = result.results[part.name]
            if part.name in excused:
                continue
            told = (task.status.value, task.exit_code, task.attempts)
            if told != (part.status, part.exit_code, part.starts):
                yield (
                    f"{part.name} is {told} ({task.reason}, {task.error}) in place of "
                    f"{(part.status, part.exit_code, part.starts)}"
                )
            if task.runner != part.runner:
                yield f"{part.name} ran on {task.runner} in place of {part.runner}"

    def _is_excused(self, part: Part, task: TaskResult) -> bool:
        reasons = self._excuses.get(part.runner or "", frozenset())
        return task.status in (Status.ERRORED, Status.ABORTED) and task.reason in reasons

    def _cancelled(self, result: TaskGroupResult) -> Iterator[str]:
        if result.status is not Status.ABORTED and not (self._excuses and result.status is Status.ERRORED):
            yield f"the group {result.id} that was cancelled is {result.status}"
        clean = result.results.get("clean")
        if clean is None:
            return
        started = self._started()
        for name in ("far", "clean"):
            if started[f"{name} 1"] > 1:
                yield f"{name} of {result.id} was started {started[f'{name} 1']} times in place of 1"
        has_run = clean.status is Status.SUCCESS
        if has_run and not started["clean 1"]:
            yield f"what cleans up after {result.id} has not run, and is {clean.status}"
        if started["far 1"] and not (has_run or self._excuses):
            yield f"what cleans up after {result.id} is {clean.status} ({clean.reason})"

    async def _log(self, id: str, part: Part, task: TaskResult) -> Sequence[str]:
        pieces = [chunk.frame.data async for chunk in self._client.logs(id, part.name, stream="stdout")]
        said = b"".join(pieces)
        if part.may_have_printed(said, whole=task.status.value == part.status):
            return ()
        return (f"{part.name} has printed {said[-300:]!r} in place of {part.printed[-300:]!r}",)

    async def _events(self, id: str) -> list[str]:
        told = [event async for piece in self._client.events(id) for event in piece]
        numbers = [event.number for event in told]
        faults = [] if numbers == list(range(1, len(told) + 1)) else [f"the events are numbered {numbers}"]
        self.seen["late results"] += sum(event.kind == "late_result" for event in told)
        faults += [
            f"{event.task} was tried again after {event.fields['reason']}"
            for event in told
            if event.kind == "task_retrying" and event.fields.get("reason") in _LOST
        ]
        starts = Counter((event.task, event.attempt) for event in told if event.kind == "task_started")
        ends = Counter((event.task, event.attempt) for event in told if event.kind in _OUTCOMES)
        faults += [f"the start of {name} was told {count} times" for name, count in starts.items() if count != 1]
        faults += [f"the end of {name} was told {count} times" for name, count in ends.items() if count != 1]
        return faults

    # Of both machines.

    def processes(self) -> Iterator[str]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.fsencode(self._work) in (entry / "cmdline").read_bytes():
                        yield f"process {entry.name} of a task is alive"


def secrets(*folders: Path) -> Iterator[str]:
    """Files in which the secret stands."""
    for folder in folders:
        for path in folder.rglob("*"):
            with suppress(OSError):
                content = path.read_bytes() if path.is_file() else b""
                if any(spelt in content for spelt in _spellings(SECRET.encode())):
                    yield f"the secret stands in {path}"


def _spellings(secret: bytes) -> Iterator[bytes]:
    """Raw, in hex, and what is the same of it in base64 wherever it begins."""
    yield secret
    yield secret.hex().encode()
    for before in range(3):
        whole = len(secret) - (3 - before) % 3
        yield base64.b64encode(secret[(3 - before) % 3 :][: whole - whole % 3])
