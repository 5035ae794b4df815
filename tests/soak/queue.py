"""`python -m tests.soak.queue --groups 10000`: so many groups that wait for a slot, as many as one caller may have; the node is killed,
takes them up again, and all are cancelled. Tells what that takes; exit status 0 when none was lost and the limit was told.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from runner.client import AsyncClient, GroupFilter, Patience
from runner.errors import LimitError
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.soak import single
from tests.soak.sampling import memory

_AT_ONCE = 50
_SLOTS = 2
_IDLE = Patience(call=0, stream=0)


class Told(Struct, frozen=True, kw_only=True):
    """In seconds and MiB. `faults` are what should not be."""

    groups: int
    submitting: float
    memory: float
    recovering: float
    memory_recovered: float
    cancelling: float
    faults: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.groups:,} queued groups: submitted in {self.submitting:,.1f} s, which takes the node {self.memory:,.0f} MiB;"
            f" it serves {self.recovering:,.1f} s after kill -9, with {self.memory_recovered:,.0f} MiB;"
            f" all are cancelled in {self.cancelling:,.1f} s"
        )


async def fill(folder: Path, groups: int) -> Told:
    """`groups` is also what the node is told to be the most of one caller."""
    faults: list[str] = []
    environment = {"RUNNER_LIMITS_GROUPS_PER_CALLER": str(groups)}
    node = Node(folder / "state", options=["--max-parallel", str(_SLOTS)], environment=environment)
    document = group([shell("sleeps", "sleep 1000")], name="queued")
    ids = [f"g{number}" for number in range(groups)]
    try:
        await asyncio.to_thread(node.start)
        empty = memory(node.pid)
        async with AsyncClient(node.socket) as client:
            began = time.monotonic()
            await _each(ids, lambda id: client.submit(document, id=id))
            submitting, full = time.monotonic() - began, memory(node.pid)
        faults += await _limit_faults(node, document, groups)
        node.end()
        began = time.monotonic()
        await asyncio.to_thread(node.start)
        recovering, recovered = time.monotonic() - began, memory(node.pid)
        async with AsyncClient(node.socket) as client:
            there = {summary.id async for summary in client.list()}
            described = (await client.describe()).groups
            if there != set(ids) or described != groups:
                faults.append(f"{len(there)} groups are listed, {described} are there")
            began = time.monotonic()
            await _each(ids, lambda id: client.cancel(id, at_once=True))
            while (await client.describe()).groups:
                pass
            cancelling = time.monotonic() - began
            ends = {summary.status.value async for summary in client.list(GroupFilter())}
            if ends != {"aborted"}:
                faults.append(f"the groups are {ends}")
            await client.submit(document, id="next")  # there is room again
    finally:
        await asyncio.to_thread(node.remove)
    return Told(
        groups=groups,
        submitting=submitting,
        memory=full - empty,
        recovering=recovering,
        memory_recovered=recovered,
        cancelling=cancelling,
        faults=faults,
    )


async def _each(ids: Iterable[str], work: Callable[[str], Awaitable[object]]) -> None:
    left = iter(ids)

    async def some() -> None:
        for id in left:
            await work(id)

    await asyncio.gather(*[some() for _ in range(_AT_ONCE)])


async def _limit_faults(node: Node, document: str, groups: int) -> list[str]:
    async with AsyncClient(node.socket, patience=_IDLE) as client:
        try:
            await client.submit(document, id="one-more")
        except LimitError as error:
            return [] if (error.limit, error.retry_after) == (groups, 10.0) else [f"the limit was told as {error!r}"]
    return ["one group more than the limit was taken"]


if __name__ == "__main__":
    sys.exit(single.main("queue", __doc__, "groups", fill))
