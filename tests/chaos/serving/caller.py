"""One life of those who call the node: they submit, watch, read, pause and cancel until all is over, and go on with what a former
life has written down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc

from runner.client import AsyncClient, Endpoint, GroupFilter, LogChunk, Patience
from runner.errors import ForbiddenError, GroupExistsError, GroupNotFoundError, RunnerError, UnreachableError
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub
from tests.chaos.scene import INPUTS, PIN, Group
from tests.chaos.serving.cast import ADA, BROUGHT, EVE, Cast
from tests.chaos.serving.diary import Diary

PATIENCE = Patience(call=60.0, stream=60.0)
OBEYED_SECONDS = 0.1
"""So long a paused task is given to go on in spite of it."""
_LOOK_SECONDS = 0.003


class Troupe:
    """All callers of one life. `tokens` are by name."""

    def __init__(self, cast: Cast, outside: Path, target: str, tokens: Mapping[str, str], life: int) -> None:
        self._cast = cast
        self._outside = outside
        self._target = target
        self._tokens = tokens
        self._life = life
        self._chance = random.Random(f"{target} {life}")
        self._diary = Diary(outside)
        self._ended = {group.id: asyncio.Event() for group in cast.groups}
        self._all_ended = asyncio.Event()
        self._ends: dict[tuple[str, str], object] = {}
        """What tasks are told to have come to: that does not change any more."""

    async def live(self) -> None:
        async with AsyncExitStack() as stack:

            async def client(name: str) -> AsyncClient:
                endpoint = Endpoint(target=self._target, token=self._tokens[name])
                return await stack.enter_async_context(AsyncClient(endpoint, patience=PATIENCE))

            self._ada, self._another, self._eve = await client(ADA), await client(ADA), await client(EVE)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(self._target))
            self._stub: Any = RunnerServiceStub(channel)
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._look_around()), tasks.create_task(self._pry())]
                async with asyncio.TaskGroup() as groups:
                    for group in self._cast.groups:
                        groups.create_task(self._play(group))
                self._all_ended.set()
                for task in beside:
                    await task
            await self._look_at_the_end()

    # A group.

    async def _play(self, group: Group) -> None:
        await self._submit(group)
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._sit_dead(group.id))]
            if group.cancelled:
                tasks.create_task(self._cancel(group))
            if group in self._cast.doomed:
                tasks.create_task(self._doom(group))
            for actor in group.actors:
                if actor.tries[0].paused:
                    tasks.create_task(self._pause(group.id, actor.name))
            followed = self._chance.sample(list(group.tasks), min(2, len(group.tasks)))
            followers = [tasks.create_task(self._follow(group.id, task)) for task in followed]
            watchers = [tasks.create_task(self._watch(group, **kind)) for kind in self._kinds(group)]
            await asyncio.gather(*watchers)
            self._ended[group.id].set()
            await asyncio.gather(*followers)
            for task in beside:
                task.cancel()

    def _kinds(self, group: Group) -> list[dict[str, Any]]:
        """At least one sees all of it."""
        kinds: list[dict[str, Any]] = [{"output": True}]
        if self._chance.random() < 0.5:
            kinds.append({"output": True, "slow": self._chance.uniform(0.001, 0.05)})
        if self._chance.random() < 0.3:
            kinds.append({"output": False})
        if self._chance.random() < 0.3:
            kinds.append({"output": True, "tasks": self._chance.sample(list(group.tasks), 1)})
        return kinds

    async def _submit(self, group: Group) -> None:
        """As long as nobody told us that it was accepted; now and then by two at once."""
        diary, id = self._diary, group.id
        if diary.has("accepted", id):
            return
        document = (self._outside / f"{id}.json").read_bytes()
        workspace = await self._uploaded() if id == BROUGHT else ""
        clients = [self._ada, self._another] if self._chance.random() < 0.5 else [self._ada]

        async def one(client: AsyncClient) -> None:
            submitted = await client.submit(document, inputs={**INPUTS, "pin": PIN}, workspace_id=workspace)
            diary.note("accepted", id, existed=submitted.existed, as_id=submitted.id)

        await asyncio.gather(*map(one, clients))
        if self._chance.random() < 0.3:
            try:
                await self._ada.submit(document, inputs={**INPUTS, "pin": f"{PIN}!"})
            except GroupExistsError:
                pass
            else:
                diary.fault(f"{id}: it was accepted with other inputs")

    async def _uploaded(self) -> str:
        if (noted := self._diary.has("uploaded")) is not None:
            return str(noted["id"])
        upload = await self._ada.upload_workspace(self._outside / "given")
        self._diary.note("uploaded", id=upload.workspace_id)
        return upload.workspace_id

    # Looking on.

    async def _watch(self, group: Group, *, output: bool, slow: float = 0.0, tasks: tuple[str, ...] = ()) -> None:
        head = {"watch": group.id, "output": output, "tasks": list(tasks)}
        sighting = self._diary.sighting(f"watch.{group.id}.{self._life}", head)
        async for happenings in self._ada.watch_in_batches(group.id, output=output, tasks=tasks):
            sighting.add(*happenings)
            if slow:
                await asyncio.sleep(slow)
        sighting.over()

    async def _follow(self, group: str, task: str) -> None:
        sighting = self._diary.sighting(f"log.{group}.{self._life}", {"follow": group, "task": task})
        async for chunk in self._ada.logs(group, task, attempt=1, follow=True):
            sighting.add(chunk)
        sighting.over()

    async def _sit_dead(self, id: str) -> None:
        """Ask for everything, and read nothing."""
        metadata = (("authorization", f"Bearer {self._tokens[ADA]}"),)
        while True:
            call = self._stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id, output=True), metadata=metadata)
            with suppress(grpc.aio.AioRpcError):
                await call.code()  # which is known once the node is gone
            await asyncio.sleep(0.05)

    async def _look_around(self) -> None:
        """Ask for lists and results, in pages, as long as something goes on."""
        while not self._all_ended.is_set():
            await self._check_list()
            for entry in self._diary.every("accepted"):
                await self._check_result(entry["group"])
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self._all_ended.wait()

    async def _check_list(self) -> None:
        accepted = {str(entry["group"]) for entry in self._diary.every("accepted")}
        listed = [summary.id async for summary in self._ada.list()]
        if not accepted <= set(listed) or len(set(listed)) != len(listed):
            self._diary.fault(f"{accepted} were accepted, {listed} are listed")

    async def _check_result(self, id: str) -> None:
        result = await self._ada.result(id)
        for name, task in result.results.items():
            end = (task.status, task.exit_code, task.attempts, task.reason) if task.status.terminal else None
            former = self._ends.setdefault((id, name), end) if end else self._ends.get((id, name))
            if former != end:
                self._diary.fault(f"{id}: {name} was {former}, then {end}")

    async def _look_at_the_end(self) -> None:
        """What is there once all is over, for the judge."""
        for group in self._cast.groups:
            result = await self._ada.result(group.id)
            self._diary.note("result", group.id, result=result.as_json())
        listed = [(summary.id, summary.status.value) async for summary in self._ada.list()]
        self._diary.note("listed", groups=listed)
        for status in Status:
            some = [summary.id async for summary in self._ada.list(GroupFilter(statuses=frozenset({status})))]
            if some != [id for id, told in listed if told == status.value]:
                self._diary.fault(f"{some} are listed as {status}, of {listed}")
        pages, token = [], ""
        metadata = (("authorization", f"Bearer {self._tokens[ADA]}"),)
        while True:
            asked = pb.ListTaskGroupsRequest(page_size=1, page_token=token)
            page = await self._again(lambda asked=asked: self._stub.ListTaskGroups(asked, metadata=metadata))  # type: ignore[misc]
            pages += [one.id for one in page.groups]
            token = page.next_page_token
            if not token:
                break
        if pages != [id for id, _ in listed]:
            self._diary.fault(f"page by page {pages} are listed, else {listed}")

    async def _again(self, call: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)

    # Meddling.

    async def _cancel(self, group: Group) -> None:
        """Once all are ready; at once when the first has ended by itself: its good-bye is no end yet."""
        diary, id = self._diary, group.id
        if not diary.has("cancelled", id):
            for task in group.tasks:
                await self._marked(id, task, "ready")
            status = await self._ada.cancel(id)
            diary.note("cancelled", id, status=status.value)
        if not diary.has("cancelled at once", id):
            await self._told(id, group.actors[0].name, Kind.TASK_FINISHED)
            status = await self._ada.cancel(id, at_once=True)
            diary.note("cancelled at once", id, status=status.value)

    async def _doom(self, group: Group) -> None:
        diary, id = self._diary, group.id
        if diary.has("cancelled", id):
            return
        await asyncio.sleep(self._chance.uniform(0, 0.8))
        status = await self._ada.cancel(id, at_once=self._chance.random() < 0.4)
        diary.note("cancelled", id, status=status.value)

    async def _pause(self, id: str, task: str) -> None:
        """Once it is ready; it has to obey before it is told to go on."""
        diary = self._diary
        await self._marked(id, task, "ready")
        if not diary.has("paused", id):
            if not await self._signal(id, task, "pause"):
                if not self._is_over(id, task):
                    diary.fault(f"{id}: {task} runs, and cannot be paused")
                return
            diary.note("paused", id, task=task)
        await self._told(id, task, Kind.TASK_PAUSED)
        (self._outside / "go").touch()
        if diary.has("resumed", id):
            return
        resumed = diary.has("resuming", id)
        if not resumed:
            await asyncio.sleep(OBEYED_SECONDS)
            if (self._outside / f"{task}.1.went").exists():
                diary.fault(f"{id}: {task} went on though it was paused")
            diary.note("resuming", id)
        await self._signal(id, task, "start")
        diary.note("resumed", id)

    async def _signal(self, id: str, task: str, signal: str) -> bool:
        """The client sends one once: whether it was heard is not known when the node is killed at that. These two may be
        repeated."""
        while True:
            try:
                return await self._ada.signal(id, task, signal)
            except UnreachableError:
                await asyncio.sleep(0.05)

    async def _told(self, id: str, task: str, kind: Kind) -> None:
        async for happenings in self._ada.watch_in_batches(id, output=False, tasks=[task]):
            if any(isinstance(one, Event) and one.kind is kind for one in happenings):
                return

    async def _marked(self, id: str, task: str, name: str) -> None:
        while not any(self._outside.glob(f"{task}.*.{name}")) and not self._ended[id].is_set():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_over(self, id: str, task: str) -> bool:
        return self._ended[id].is_set() or self._ends.get((id, task)) is not None

    # Who has no business here.

    async def _pry(self) -> None:
        """Try everything with the groups of somebody else: they are not there."""
        eve = self._eve
        while not self._all_ended.is_set():
            if [summary async for summary in eve.list()]:
                self._diary.fault("eve sees a list")
            for entry in self._diary.every("accepted")[-3:]:
                id = str(entry["group"])
                task = next(group for group in self._cast.groups if group.id == id).actors[0].name
                await self._hidden(f"get {id}", eve.result(id))
                await self._hidden(f"cancel {id}", eve.cancel(id))
                await self._hidden(f"signal {id}", eve.signal(id, task, "destroy"))
                await self._hidden(f"watch {id}", _first(eve.watch(id)))
                await self._hidden(f"log {id}", _first(eve.logs(id, task)))
            try:
                await eve.submit('{"taskGroup": []}')
                self._diary.fault("eve submits")
            except ForbiddenError:
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._all_ended.wait()

    async def _hidden(self, what: str, call: Awaitable[object]) -> None:
        try:
            told = await call
        except (GroupNotFoundError, UnreachableError):
            return
        except RunnerError as error:
            told = error
        self._diary.fault(f"eve is told of {what}: {told!r}")


async def _first(pieces: AsyncIterator[Event | LogChunk]) -> object:
    async for piece in pieces:
        return piece
    return None
