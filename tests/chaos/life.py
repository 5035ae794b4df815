"""One life of a long-lived node: it submits the groups, or takes up what a former life left, and works until all is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from runner.config import Settings, load_settings
from runner.engine.watch import watch
from runner.model.event import Kind
from runner.node import Node, open_node
from runner.process.channel import EndedError
from runner.validation import load
from tests.chaos.scene import INPUTS, PIN, Group

SLOTS = 16
_LOOK_SECONDS = 0.003
_MANY = 1_000_000


def settings_of(state: Path) -> Settings:
    return load_settings(state_dir=state, max_parallel=SLOTS)


class NotOpenedError(Exception):
    """The supervisor was killed while it was waited for: whoever starts nodes starts another one."""


async def live(state: Path, outside: Path, groups: Sequence[Group]) -> None:
    """`outside` holds the documents, and what the tasks have marked; a client submits again as long as nobody told it that
    a group was accepted. Raises NotOpenedError."""
    async with AsyncExitStack() as stack:
        try:
            node = await stack.enter_async_context(open_node(settings_of(state)))
        except EndedError as error:
            raise NotOpenedError from error
        workspace = outside / "workspace"
        workspace.mkdir(exist_ok=True)
        for group in groups:
            path = outside / f"{group.id}.json"
            loaded = load(path.read_bytes(), source=str(path), registry=node.registry)
            node.engine.submit(loaded.group, {**INPUTS, "pin": PIN}, workspace=str(workspace))
        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(_cancel(node, group, outside)) for group in groups if group.cancelled]
            clients += [
                tasks.create_task(_pause(node, group.id, actor.name, outside))
                for group in groups
                for actor in group.actors
                if actor.tries[0].paused
            ]
            for group in groups:
                async for _ in watch(node.engine, group.id):
                    pass
            for task in clients:
                task.cancel()


async def _cancel(node: Node, group: Group, outside: Path) -> None:
    """Twice, as long as it is not known that it was heard."""

    def asked() -> int:
        record = node.store.group(group.id)
        return record.group.abort_count if record is not None else 0

    if asked() < 1:
        for task in group.tasks:
            await _marked(node, group.id, task, outside, "ready")
        node.engine.cancel(group.id)
    await _until(lambda: asked() >= 1)
    if asked() < 2:
        await _until(lambda: _is_over(node, group.id, group.actors[0].name))  # its good-bye is no end yet
        node.engine.cancel(group.id)


async def _pause(node: Node, group: str, task: str, outside: Path) -> None:
    """Once it is ready, and start it again once that is told; neither of them again when it is known that it was heard."""

    def asked() -> bool:
        record = node.store.group(group)
        return record is not None and any(row.paused for row in record.attempts if row.task == task)

    def told(kind: Kind) -> bool:
        return any(event.task == task and event.kind is kind for event in node.store.events(group, 0, _MANY))

    await _marked(node, group, task, outside, "ready")
    if not told(Kind.TASK_PAUSED):
        if not asked():
            node.engine.signal(group, task, "pause")
        await _until(lambda: told(Kind.TASK_PAUSED))
    (outside / "go").touch()
    if asked():
        assert not told(Kind.TASK_RESUMED)
        assert not (outside / f"{task}.1.went").exists(), "it went on though it is paused"
        node.engine.signal(group, task, "start")


async def _marked(node: Node, group: str, task: str, outside: Path, name: str) -> None:
    """Or it is over: it may have been lost."""
    await _until(lambda: any(outside.glob(f"{task}.*.{name}")) or _is_over(node, group, task))


def _is_over(node: Node, group: str, task: str) -> bool:
    record = node.store.group(group)
    return record is not None and any(row.name == task and row.status.terminal for row in record.tasks)


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - neither files nor rows tell anybody
        await asyncio.sleep(_LOOK_SECONDS)
