"""`python -m tests.soak.watchers --watchers 10000`: so many look on at one group. Tells what that takes; exit status 0 when each of
them saw the whole story and the node answered others meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from runner.client import AsyncClient, Patience
from runner.model.watch import LogChunk
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.soak import single
from tests.soak.sampling import memory

CONNECTIONS = 50
_LINES = 20
_OUTPUT = "".join(f"line {number}\n" for number in range(_LINES)).encode()


class Told(Struct, frozen=True, kw_only=True):
    """In seconds and MiB. `answering` is the longest that somebody else had to wait. `faults` are what should not be."""

    watchers: int
    connecting: float
    memory: float
    answering: float
    telling: float
    faults: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.watchers:,} watchers of one group: there after {self.connecting:,.1f} s, which takes the node"
            f" {self.memory:,.0f} MiB; others are answered within {1000 * self.answering:,.0f} ms; {_LINES} lines and the end"
            f" reach all of them in {self.telling:,.1f} s"
        )


async def look_on(folder: Path, watchers: int) -> Told:
    go = folder / "go"
    most = {name: str(watchers) for name in ("RUNNER_LIMITS_STREAMS", "RUNNER_LIMITS_STREAMS_PER_CALLER")}
    node = Node(folder / "state", environment=most)
    document = group(
        [
            shell(
                "talks",
                f"while [ ! -e {go} ]; do sleep 0.05; done; for i in $(seq 0 {_LINES - 1}); do echo line $i; done",
            )
        ]
    )
    there = 0
    all_there = asyncio.Event()

    async def watch(client: AsyncClient, id: str) -> bytes:
        nonlocal there
        output = b""
        begun = False
        async for happenings in client.watch_in_batches(id):
            if not begun:
                begun = True
                there += 1
                if there == watchers:
                    all_there.set()
            output += b"".join(each.frame.data for each in happenings if isinstance(each, LogChunk))
        return output

    try:
        await asyncio.to_thread(node.start)
        empty = memory(node.pid)
        async with AsyncExitStack() as stack:
            # Clients that are alike share a connection, and one has room for so many streams.
            opened = [AsyncClient(node.socket, patience=Patience(silence=60 + n)) for n in range(CONNECTIONS)]
            clients = [await stack.enter_async_context(client) for client in opened]
            id = (await clients[0].submit(document)).id
            began = time.monotonic()
            watching = [asyncio.create_task(watch(clients[n % CONNECTIONS], id)) for n in range(watchers)]
            await all_there.wait()
            connecting, full = time.monotonic() - began, memory(node.pid)
            answering = max([await _answered(clients[0]) for _ in range(20)])
            go.touch()
            began = time.monotonic()
            outputs = await asyncio.gather(*watching)
            telling = time.monotonic() - began
    finally:
        await asyncio.to_thread(node.remove)
    wrong = sum(output != _OUTPUT for output in outputs)
    return Told(
        watchers=watchers,
        connecting=connecting,
        memory=full - empty,
        answering=answering,
        telling=telling,
        faults=[f"{wrong} watchers saw something else than what was printed"] if wrong else [],
    )


async def _answered(client: AsyncClient) -> float:
    began = time.monotonic()
    await client.describe()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(single.main("watchers", __doc__, "watchers", look_on))
