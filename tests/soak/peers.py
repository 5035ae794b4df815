"""`python -m tests.soak.peers --peers 1000`: a node with so many peers, each with a session of its own, first idle, then with 200 tasks in flight
at each of 50 of them. Tells what that takes of the node; exit status 0 when all came to their end.

The peers are sessions of a few processes (`tests.soak.crowd`) that carry nothing out: what is measured is the node that forwards.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from runner.client import AsyncClient
from runner.model.result import Status
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.soak import single
from tests.soak.sampling import memory

PROCESSES = 3
LONGEST_SECONDS = 300.0
_KIB = 1024


class Play(Struct, frozen=True, kw_only=True):
    """`busy` of the peers get `each` tasks of `seconds`; before, nothing happens for `idle` seconds."""

    busy: int = 50
    each: int = 200
    seconds: float = 30.0
    idle: float = 20.0


NORMAL = Play()


class Told(Struct, frozen=True, kw_only=True):
    """In seconds, KiB, and shares of one processor."""

    peers: int
    connecting: float
    memory_each: float
    descriptors_each: float
    idle_share: float
    in_flight: int
    handing_out: float
    ending: float
    memory_in_flight: float
    faults: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.peers:,} peers: all are there {self.connecting:,.1f} s after the node's start; each takes it {self.memory_each:,.0f} KiB and"
            f" {self.descriptors_each:.1f} descriptors, and all of them {self.idle_share:.1%} of a processor while nothing happens;"
            f" {self.in_flight:,} tasks in flight: under way in {self.handing_out:,.1f} s, over in"
            f" {self.ending:,.1f} s, {self.memory_in_flight:,.1f} KiB each"
        )


@asynccontextmanager
async def crowd(folder: Path, peers: int, seconds: float) -> AsyncIterator[list[str]]:
    """Where each of them listens; their tasks take so long."""
    sockets = [f"unix:{folder}/p{number}.sock" for number in range(peers)]
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - nothing else waits
            [sys.executable, "-m", "tests.soak.crowd", str(seconds), *sockets[number::PROCESSES]],
            stdout=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
        yield sockets
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def meet(folder: Path, peers: int, play: Play = NORMAL) -> Told:
    faults: list[str] = []
    (folder / "node").mkdir()
    async with crowd(folder, peers, play.seconds) as sockets:
        alone = await _baseline(folder)
        config = folder / "runner.toml"
        config.write_text("".join(f'[peers.p{n}]\ntarget = "{sockets[n]}"\n' for n in range(peers)), encoding="utf-8")
        node = Node(folder / "node" / "state", options=["--config", str(config)])
        try:
            began = time.monotonic()
            await asyncio.to_thread(node.start)
            async with AsyncClient(node.socket) as client:
                await _until_there(client, peers)
                connecting = time.monotonic() - began
                share = await _idle_share(node.pid, play.idle)
                idle, descriptors = memory(node.pid), _descriptors(node.pid)
                busy = [f"p{n}" for n in range(min(play.busy, peers))]
                tasks = [shell(f"{peer}-{n}", "true", forward={"to": peer}) for peer in busy for n in range(play.each)]
                began = time.monotonic()
                id = (await client.submit(group(tasks, name="crowd"))).id
                handing_out, most = await _until_under_way(client, len(tasks), node.pid, play.seconds)
                status = await _until_over(client, id)
                ending = time.monotonic() - began
                if status is not Status.SUCCESS:
                    faults.append(f"the group is {status}")
        finally:
            await asyncio.to_thread(node.remove)
    others = max(1, peers - 1)  # beside the one that the baseline has
    return Told(
        peers=peers,
        connecting=connecting,
        memory_each=(idle - alone[0]) * _KIB / others,
        descriptors_each=(descriptors - alone[1]) / others,
        idle_share=share,
        in_flight=len(tasks),
        handing_out=handing_out,
        ending=ending,
        memory_in_flight=(most - idle) * _KIB / len(tasks),
        faults=faults,
    )


async def _baseline(folder: Path) -> tuple[float, int]:
    """What a node has that has one peer: with it what all of them share."""
    (folder / "alone").mkdir()
    config = folder / "alone" / "runner.toml"
    config.write_text(f'[peers.p]\ntarget = "unix:{folder}/p0.sock"\n', encoding="utf-8")
    node = Node(folder / "alone" / "state", options=["--config", str(config)])
    try:
        await asyncio.to_thread(node.start)
        async with AsyncClient(node.socket) as client:
            await _until_there(client, 1)
        return memory(node.pid), _descriptors(node.pid)
    finally:
        await asyncio.to_thread(node.remove)


async def _until_there(client: AsyncClient, peers: int) -> None:
    async with asyncio.timeout(LONGEST_SECONDS):
        while sum(peer.there for peer in (await client.describe()).peers) < peers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


async def _idle_share(pid: int, seconds: float) -> float:
    began, before = time.monotonic(), _processor_seconds(pid)
    await asyncio.sleep(seconds)
    return (_processor_seconds(pid) - before) / (time.monotonic() - began)


async def _until_under_way(client: AsyncClient, tasks: int, pid: int, seconds: float) -> tuple[float, float]:
    """How long it took, and the node's memory then."""
    began = time.monotonic()
    async with asyncio.timeout(LONGEST_SECONDS):
        while sum(peer.running for peer in (await client.describe()).peers) < tasks:
            if time.monotonic() - began > seconds:
                break  # the first are over before the last are under way
            await asyncio.sleep(0.05)
    return time.monotonic() - began, memory(pid)


async def _until_over(client: AsyncClient, id: str) -> Status:
    async with asyncio.timeout(LONGEST_SECONDS):
        async for _ in client.watch_in_batches(id, output=False):
            pass
        return (await client.summary(id)).status


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    sys.exit(single.main("peers", __doc__, "peers", meet))
