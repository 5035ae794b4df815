"""The runner as a service: `runner serve` in a process of its own, asked over gRPC by this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from bench import output, workloads
from bench.measure import Metrics, machine_cpu_seconds, process_cpu_seconds, rss_bytes, run
from bench.samples import BenchError
from bench.workloads import Workload
from runner.config.service import SOCKET_NAME
from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_pb2_grpc

LONGEST_START_SECONDS = 30.0
LONGEST_GROUP_SECONDS = 300.0
WARM_UP_TASKS = 50
PLAIN, MUTUAL_TLS = "plain", "mtls"


async def submitted(folder: Path, graph: Workload, transport: str, *, shell: bool) -> Metrics:
    """From the submission of a document until its end is heard of, recorded and safe."""
    async with node(folder, transport) as (process, stub):
        await _finish(stub, workloads.document(workloads.indep(WARM_UP_TASKS)))
        document = workloads.document(graph, shell=shell)
        own = _Processes(process.pid, folder)
        machine, began = machine_cpu_seconds(), time.perf_counter()
        await _finish(stub, document)
        seconds = time.perf_counter() - began
        return {
            "tasks_per_s": graph.count / seconds,
            "cpu_ms_per_task": own.seconds() / graph.count * 1e3,
            "machine_cpu_ms_per_task": (machine_cpu_seconds() - machine) / graph.count * 1e3,
        }


async def forwarded(folder: Path, graph: Workload) -> Metrics:
    """On another node, every task by itself and then the group as a whole; and as `submitted` to that one, for comparison."""
    for name in ("here", "there"):
        (folder / name).mkdir()
    (folder / "here" / "runner.toml").write_text(
        f'[peers.there]\ntarget = "unix:{folder / "there" / "state" / SOCKET_NAME}"\n', encoding="utf-8"
    )
    async with node(folder / "there", PLAIN) as (_, there), node(folder / "here", PLAIN) as (_, here):
        until = time.monotonic() + LONGEST_START_SECONDS
        while not all(peer.there for peer in (await here.DescribeRunner(pb.DescribeRunnerRequest())).peers):
            if time.monotonic() > until:
                raise BenchError("the nodes did not find each other")
            await asyncio.sleep(0.05)
        rates = {}
        ways = (
            ("direct_tasks_per_s", there, "", ""),
            ("tasks_per_s", here, "there", ""),
            ("whole_tasks_per_s", here, "", "there"),
        )
        for name, stub, to, whole_to in ways:
            await _finish(stub, workloads.document(workloads.indep(WARM_UP_TASKS), to=to, whole_to=whole_to))
            began = time.perf_counter()
            await _finish(stub, workloads.document(graph, to=to, whole_to=whole_to))
            rates[name] = graph.count / (time.perf_counter() - began)
        return rates


async def printed(folder: Path, command: Sequence[str], secrets: Mapping[str, str], reader: output.Reader) -> float:
    """With a client that follows the log. Implements `output.Carry`."""
    inputs = {name: {"required": True, "confidential": True} for name in secrets}
    task = {"name": output.TASK, "type": "os_exec", "spec": {"command": list(command)}}
    document = json.dumps({"name": "output", "inputs": inputs, "taskGroup": [task]}).encode()
    async with node(folder, PLAIN) as (_, stub):
        began = time.perf_counter()
        id = (await stub.SubmitTaskGroup(pb.SubmitTaskGroupRequest(document=document, inputs=secrets))).id
        reading = pb.ReadLogRequest(id=id, task=output.TASK, follow=True)
        async for message in stub.ReadLog(reading, timeout=LONGEST_GROUP_SECONDS):
            for chunk in message.chunks:
                reader.take(chunk.data)
        seconds = time.perf_counter() - began
        await _until_over(stub, id)
        return seconds


async def asked(folder: Path, count: int, transport: str) -> Metrics:
    """A small question, one by one, then sixteen at once."""
    async with node(folder, transport) as (_, stub):
        request = pb.ListTaskGroupsRequest(page_size=1)
        for _ in range(WARM_UP_TASKS):
            await stub.ListTaskGroups(request)
        began = time.perf_counter()
        for _ in range(count):
            await stub.ListTaskGroups(request)
        alone = time.perf_counter() - began

        async def lane() -> None:
            for _ in range(count // 16):
                await stub.ListTaskGroups(request)

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(16)))
        together = time.perf_counter() - began
        return {"ms_alone": alone / count * 1e3, "calls_per_s": count // 16 * 16 / together}


async def told(folder: Path, count: int) -> Metrics:
    """The command that asks a node what it is, beside a Python that does nothing."""
    async with node(folder, PLAIN):
        argv = [str(Path(sys.executable).with_name("runner")), "info", "--to", f"unix:{folder / 'state' / SOCKET_NAME}"]
        asking, nothing = [], []
        for _ in range(count):
            asking.append(run(argv, cwd=folder).seconds)
            nothing.append(run([sys.executable, "-c", "pass"]).seconds)
        return {"seconds": median(asking), "python_seconds": median(nothing)}


async def idle(folder: Path) -> Metrics:
    """What a node holds that waits: from its start on, and behind a group with secrets, which loads what encrypts and masks."""
    async with node(folder, PLAIN) as (process, stub):
        fresh = rss_bytes(process.pid)
        await _finish(stub, workloads.document(workloads.one()))
        return {"rss_mb": fresh / 1e6, "rss_mb_behind_a_group": rss_bytes(process.pid) / 1e6}


@asynccontextmanager
async def node(folder: Path, transport: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], Any]]:
    state = folder / "state"
    runner = str(Path(sys.executable).with_name("runner"))
    options = ["--state-dir", str(state)]
    address = f"unix:{state / SOCKET_NAME}"
    credentials = None
    if (folder / "runner.toml").exists():
        options += ["--config", str(folder / "runner.toml")]
    if transport == MUTUAL_TLS:
        address, credentials = "127.0.0.1:" + str(_free_port()), _certificates(runner, folder)
        options += ["--config", str(folder / "runner.toml")]
        (folder / "runner.toml").write_text(
            f'listen = ["{address}"]\n[tls]\ncertificate = "certs/nodes/node.pem"\nkey = "certs/nodes/node.key"\n'
            'client_ca = "certs/ca.pem"\n',
            encoding="utf-8",
        )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else waits
        [runner, "serve", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        channel = (
            grpc.aio.insecure_channel(address) if credentials is None else grpc.aio.secure_channel(address, credentials)
        )
        async with channel:
            stub: Any = runner_pb2_grpc.RunnerServiceStub(channel)
            await _until_it_answers(stub, process, folder / "log")
            yield process, stub
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        log.close()
        for pid in _supervisors(folder):
            os.kill(pid, signal.SIGTERM)


async def _until_it_answers(stub: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + LONGEST_START_SECONDS
    while True:
        try:
            await stub.ListTaskGroups(pb.ListTaskGroupsRequest(page_size=1), timeout=1.0)
            return
        except grpc.aio.AioRpcError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError(f"the node did not start: {log.read_text(errors='replace')[-500:]}") from error
        await asyncio.sleep(0.05)


async def _finish(stub: Any, document: str) -> None:
    request = pb.SubmitTaskGroupRequest(document=document.encode(), inputs=workloads.secret_values())
    id = (await stub.SubmitTaskGroup(request)).id
    await _until_over(stub, id)


async def _until_over(stub: Any, id: str) -> None:
    async for message in stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id), timeout=LONGEST_GROUP_SECONDS):
        for happening in message.happenings:
            if happening.event.HasField("group_finished"):
                if happening.event.group_finished.status != pb.STATUS_SUCCESS:
                    raise BenchError("the group did not succeed")
                return
    raise BenchError("the watch ended before the group")


class _Processes:
    """The processor time of a node, of its supervisor, and of all that this one has started."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pids = [pid, *_supervisors(folder)]
        self._before = self._spent()

    def seconds(self) -> float:
        return self._spent() - self._before

    def _spent(self) -> float:
        return sum(sum(process_cpu_seconds(pid)) for pid in self._pids)


def _supervisors(folder: Path) -> list[int]:
    """Those that serve the state in `folder`: they have left their parents, and are told by their arguments."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if any(word.startswith(os.fsencode(folder)) for word in words) and b"serve" not in words:
            found.append(int(entry.name))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _certificates(runner: str, folder: Path) -> grpc.ChannelCredentials:
    """Of an authority of its own, as the commands make them."""
    certs = folder / "certs"
    for words in (["init"], ["issue", "node", "--node", "--host", "127.0.0.1"], ["issue", "bench"]):
        subprocess.run([runner, "certs", *words, "--dir", str(certs)], check=True, capture_output=True)
    return grpc.ssl_channel_credentials(
        (certs / "ca.pem").read_bytes(),
        (certs / "clients/bench.key").read_bytes(),
        (certs / "clients/bench.pem").read_bytes(),
    )
