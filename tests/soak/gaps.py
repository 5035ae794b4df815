"""`python -m tests.soak.gaps`: how long a node keeps its callers waiting while one of them submits and cancels groups as large as
there may be. Another one asks it something small every 20 ms, from a process of its own; told is the longest time that an answer
took, and that of a call of the large kind itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from msgspec import Struct

from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_pb2_grpc
from tests.acceptance.mortal import Node

EVERY_SECONDS = 0.02
FARTHEST_EVENT = 1 << 62
REST_SECONDS = 0.5
"""How long it is looked on behind each call, for what the call has led to."""
MEGABYTE = 1_000_000
_MESSAGE_BYTES = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Row(Struct, frozen=True, kw_only=True):
    """One call of the large kind, in seconds: how long it took, and the longest and the median answer to the small ones
    meanwhile."""

    name: str
    took: float
    longest: float
    median: float

    def __str__(self) -> str:
        return (
            f"{self.name:44} took {self.took:6.2f} s, the longest answer meanwhile {self.longest * 1000:6.0f} ms, "
            f"the median {self.median * 1000:4.1f} ms"
        )


def probe(address: str, token: str, line: Connection) -> None:
    """Ask on and on. Whenever something is received, the times of the answers since then are sent, in seconds."""
    with grpc.insecure_channel(address) as channel:
        stub = runner_pb2_grpc.RunnerServiceStub(channel)
        took: list[float] = []
        while True:
            began = time.perf_counter()
            stub.DescribeRunner(pb.DescribeRunnerRequest(), metadata=(("authorization", f"Bearer {token}"),))
            took.append(time.perf_counter() - began)
            if line.poll():
                if not line.recv():
                    return
                line.send(took)
                took = []
            time.sleep(max(0.0, EVERY_SECONDS - took[-1] if took else 0.0))


class Looker:
    """Another caller, by his `token`: his own questions wait for each other where they are read."""

    def __init__(self, address: str, token: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, other = context.Pipe()
        self._process = context.Process(target=probe, args=(address, token, other), daemon=True)
        self._process.start()
        self._answers()

    async def during(self, name: str, work: Callable[[], Awaitable[object]]) -> Row:
        await asyncio.to_thread(self._answers)
        began = time.perf_counter()
        await work()
        took = time.perf_counter() - began
        await asyncio.sleep(REST_SECONDS)
        answers = sorted(await asyncio.to_thread(self._answers))
        return Row(name=name, took=took, longest=answers[-1], median=answers[len(answers) // 2])

    def close(self) -> None:
        self._line.send(False)
        self._process.join()

    def _answers(self) -> list[float]:
        self._line.send(True)
        return list(self._line.recv())


def group(tasks: int, *, waiting: bool) -> bytes:
    """`waiting`: for one that goes on for long; else for slots."""
    gate = {"name": "gate", "type": "os_exec", "spec": {"command": ["sleep", "1000"]}}
    others: list[dict[str, Any]] = [
        {"name": f"t{number}", "type": "os_exec", "spec": {"command": ["sleep", "1000"]}} for number in range(tasks - 1)
    ]
    if waiting:
        for each in others:
            each["depends_on"] = ["gate"]
    return json.dumps({"name": "large", "taskGroup": [gate, *others]}).encode()


def heavy(megabytes: int) -> bytes:
    """One task with a large text, in a document of that size."""
    text = "0123456789abcde\n" * (megabytes * MEGABYTE // 17)
    task = {"name": "t", "type": "os_exec", "spec": {"command": ["sleep", "1000"], "stdin": text}}
    return json.dumps({"name": "heavy", "taskGroup": [task]}).encode()


def many_texts(megabytes: int) -> bytes:
    """The same in a thousand tasks."""
    text = "0123456789abcde\n" * (megabytes * 1000 // 17)
    task = {"type": "os_exec", "spec": {"command": ["sleep", "1000"], "stdin": text}}
    tasks = [{"name": f"t{number}", **task} for number in range(1000)]
    return json.dumps({"name": "heavy", "taskGroup": tasks}).encode()


ASKING = json.dumps(
    {
        "name": "asking",
        "inputs": {"large": {"default": ""}},
        "taskGroup": [{"name": "t", "type": "os_exec", "spec": {"command": ["sleep", "1000"]}}],
    }
).encode()


async def _ended(stub: Any, id: str) -> None:
    await stub.CancelTaskGroup(pb.CancelTaskGroupRequest(id=id, at_once=True))
    async for _ in stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id, after_event=FARTHEST_EVENT)):
        pass


async def measured(folder: Path, tasks: int, megabytes: int, groups: int) -> list[Row]:
    node = Node(folder / "state", options=["--max-parallel", "2"])
    rows: list[Row] = []
    try:
        await asyncio.to_thread(node.start)
        looker = await asyncio.to_thread(Looker, node.socket, node.token("looker"))
        async with grpc.aio.insecure_channel(node.socket, options=_MESSAGE_BYTES) as channel:
            stub: Any = runner_pb2_grpc.RunnerServiceStub(channel)

            async def look(name: str, work: Callable[[], Awaitable[object]]) -> None:
                rows.append(await looker.during(name, work))
                print(rows[-1], flush=True)

            async def both(name: str, document: bytes, **inputs: str) -> None:
                request = pb.SubmitTaskGroupRequest(document=document, id=name, inputs=inputs)
                await look(f"submit {name}", lambda: stub.SubmitTaskGroup(request))
                await look(f"submit {name} again", lambda: stub.SubmitTaskGroup(request))
                await look(f"get {name}", lambda: stub.GetTaskGroup(pb.GetTaskGroupRequest(id=name)))
                await look(f"cancel {name}", lambda: _ended(stub, name))
                await look(f"get {name} behind its end", lambda: stub.GetTaskGroup(pb.GetTaskGroupRequest(id=name)))

            async def many(name: str, document: bytes) -> None:
                ids = [f"{name}-{number}" for number in range(groups)]
                submit = [pb.SubmitTaskGroupRequest(document=document, id=id) for id in ids]
                await look(f"submit {name}", lambda: asyncio.gather(*map(stub.SubmitTaskGroup, submit)))
                await look(f"cancel {name}", lambda: asyncio.gather(*(_ended(stub, id) for id in ids)))

            await look("nothing", lambda: asyncio.sleep(1))
            await many(f"{groups}-groups-that-wait-for-one", group(tasks // groups, waiting=True))
            await many(f"{groups}-groups-that-wait-for-slots", group(tasks // groups, waiting=False))
            await both(f"{tasks}-that-wait-for-one", group(tasks, waiting=True))
            await both(f"{tasks}-that-wait-for-slots", group(tasks, waiting=False))
            await both(f"{megabytes}-MB-in-one-task", heavy(megabytes))
            await both(f"{megabytes}-MB-in-1000-tasks", many_texts(megabytes))
            await both(f"{megabytes}-MB-of-inputs", ASKING, large="0123456789abcde\n" * (megabytes * MEGABYTE // 16))
        await asyncio.to_thread(looker.close)
    finally:
        await asyncio.to_thread(node.remove)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.gaps", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, help="of the large groups (100000)")
    parser.add_argument("--groups", type=int, default=40, help="that share as many tasks, and are busy at once (40)")
    parser.add_argument("--megabytes", type=int, default=30, help="of the large documents and inputs (30)")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="gaps-"))
    try:
        rows = asyncio.run(measured(folder, options.tasks, options.megabytes, options.groups))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"the longest of all: {max(row.longest for row in rows) * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
