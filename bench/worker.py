"""What is measured inside a process of its own, so that nothing lingers from one run to the next: `python -m bench.worker JOB …`
prints the metrics as one JSON object."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import output, served, spawning, workloads
from bench.instant import InstantDispatcher
from bench.measure import Meter, Metrics, rss_bytes
from bench.samples import BenchError
from bench.workloads import GRAPHS, Workload
from drivers.base import ProcessSpec
from runner.clock import SystemClock
from runner.config import load_settings
from runner.engine.engine import Engine
from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.group import TaskGroup
from runner.model.result import Status
from runner.process.host import SupervisorHost
from runner.sealing import Sealer
from runner.store.base import Store
from runner.store.memory import MemoryStore
from runner.store.sqlite import SqliteStore

WARM_UP_TASKS = 50
ENGINE_PARALLEL = 8


async def finish(engine: Engine, group: TaskGroup, inputs: Mapping[str, str], workspace: str) -> str:
    """Submit the group, wait until its end is recorded and safe against a loss of power; its id."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    id = engine.submit(group, inputs, workspace=workspace)
    await durable(engine)

    def look() -> None:
        if not engine.active and not over.done():
            over.set_result(None)

    unsubscribe = engine.subscribe(id, look)
    look()
    await over
    unsubscribe()
    await durable(engine)
    return id


async def durable(engine: Engine) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(error: Exception | None) -> None:
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    engine.when_durable(answered)
    await done


async def node(folder: Path, graph: Workload, *, shell: bool) -> Metrics:
    """A whole node: engine, store, supervised processes, secrets, logs."""
    from runner.node import open_run_node
    from runner.validation import load

    settings = load_settings(state_dir=folder / "state")
    async with open_run_node(settings.run_dir("bench"), settings) as opened:

        def parsed(graph: Workload) -> TaskGroup:
            text = workloads.document(graph, shell=shell).encode()
            return load(text, source=graph.name, registry=opened.registry).group

        inputs = workloads.secret_values()
        await finish(opened.engine, parsed(workloads.indep(WARM_UP_TASKS)), inputs, str(folder))
        group = parsed(graph)
        meter = Meter()
        id = await finish(opened.engine, group, inputs, str(folder))
        metrics = meter.stop(graph.count)
        _check(opened.engine, id)
        return metrics


async def engine_alone(folder: Path, graph: Workload, *, store: str) -> Metrics:
    """The engine and a store; every attempt succeeds at once. The garbage collector is as in a node."""
    from runner.node import calm_collector

    engine, opened = _engine(folder, store)
    calm_collector()
    group = workloads.task_group(graph)
    inputs = workloads.secret_values()
    await finish(engine, workloads.task_group(workloads.indep(WARM_UP_TASKS)), inputs, str(folder))
    meter = Meter()
    id = await finish(engine, group, inputs, str(folder))
    metrics = meter.stop(graph.count)
    _check(engine, id)
    engine.close()
    opened.close()
    return metrics


async def host(folder: Path, count: int, in_flight: int) -> Metrics:
    """The supervisor and its client alone: `count` processes, `in_flight` at once, by nobody's order but this loop's."""
    processes = await SupervisorHost.start_private(str(folder))
    spec = ProcessSpec(argv=[workloads.TRUE], env={}, cwd=str(folder))
    logs = MemoryLogStore()
    keys = iter(range(WARM_UP_TASKS))

    async def lane() -> None:
        for key in map(str, keys):
            sink = logs.open(AttemptId("bench", key, 1), Masker())
            ended = await (await processes.spawn(key, spec, sink)).wait()
            await processes.forget(key)
            if ended.exit_code != 0:
                raise BenchError(f"a process ended with {ended.exit_code}")

    async def all_lanes() -> None:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(in_flight):
                lanes.create_task(lane())

    await all_lanes()
    keys = iter(range(WARM_UP_TASKS, WARM_UP_TASKS + count))
    meter = Meter()
    await all_lanes()
    metrics = meter.stop(count)
    await processes.aclose()
    return metrics


async def queued(folder: Path, count: int) -> Metrics:
    """What a task costs in memory that waits for its turn, the group's model and its row included."""
    engine, opened = _engine(folder, "sqlite", silent=True)
    inputs = workloads.secret_values()
    engine.submit(workloads.task_group(workloads.indep(WARM_UP_TASKS)), inputs)
    await durable(engine)
    before = _settled_rss()
    engine.submit(workloads.task_group(workloads.indep(count)), inputs)
    await durable(engine)
    metrics = {"bytes_per_task": (_settled_rss() - before) / count}
    engine.close()
    opened.close()
    return metrics


def load(count: int) -> Metrics:
    """From the text of a document to a validated group."""
    from runner import tasktypes
    from runner.validation import load as load_group

    registry = tasktypes.registry(load_settings())
    load_group(workloads.templated_document(2).encode(), source="warm-up", registry=registry)
    text = workloads.templated_document(count).encode()
    begin = time.perf_counter()
    loaded = load_group(text, source="bench", registry=registry)
    seconds = time.perf_counter() - begin
    if len(loaded.group.tasks) != count:
        raise BenchError("the document was not loaded whole")
    return {"seconds": seconds, "document_bytes": len(text)}


def yaml_load(count: int) -> Metrics:
    """The same text through PyYAML's C loader, which knows nothing of groups."""
    import yaml

    text = workloads.templated_document(count).encode()
    begin = time.perf_counter()
    yaml.load(text, yaml.CSafeLoader)
    return {"seconds": time.perf_counter() - begin}


def _engine(folder: Path, store: str, *, silent: bool = False) -> tuple[Engine, Store]:
    loop = asyncio.get_running_loop()
    clock = SystemClock(loop)
    opened: Store
    if store == "sqlite":
        opened = SqliteStore.open(folder / "state.db", call_soon_threadsafe=loop.call_soon_threadsafe)
    else:
        opened = MemoryStore(call_soon=loop.call_soon)
    engine = Engine(
        store=opened,
        clock=clock,
        dispatcher=InstantDispatcher(clock, silent=silent),
        sealer=Sealer.open_or_create(folder / "key"),
        max_parallel=ENGINE_PARALLEL,
    )
    return engine, opened


def _check(engine: Engine, id: str) -> None:
    result = engine.result(id)
    if result.status is not Status.SUCCESS:
        ends = sorted({(task.status.value, task.reason, task.error) for task in result.results.values()}, key=str)
        raise BenchError(f"the group ended {result.status.value}: {ends[:3]}")


def _settled_rss() -> int:
    gc.collect()
    with contextlib.suppress(AttributeError):  # another C library: what was freed may still be counted
        ctypes.CDLL(None).malloc_trim(0)
    return rss_bytes(os.getpid())


CARRIES: dict[str, output.Carry] = {"node": output.in_process, "served": served.printed}

JOBS: dict[str, Callable[[Path, list[str]], Metrics]] = {
    "node": lambda folder, args: asyncio.run(node(folder, GRAPHS[args[0]](int(args[1])), shell="shell" in args)),
    "engine": lambda folder, args: asyncio.run(engine_alone(folder, GRAPHS[args[0]](int(args[1])), store=args[2])),
    "host": lambda folder, args: asyncio.run(host(folder, int(args[0]), int(args[1]))),
    "queued": lambda folder, args: asyncio.run(queued(folder, int(args[0]))),
    "spawning": lambda folder, args: spawning.measured(int(args[0])),
    "served": lambda folder, args: asyncio.run(
        served.submitted(folder, GRAPHS[args[0]](int(args[1])), args[2], shell="shell" in args)
    ),
    "forwarded": lambda folder, args: asyncio.run(served.forwarded(folder, GRAPHS[args[0]](int(args[1])))),
    "asked": lambda folder, args: asyncio.run(served.asked(folder, int(args[0]), args[1])),
    "info": lambda folder, args: asyncio.run(served.told(folder, int(args[0]))),
    "idle": lambda folder, args: asyncio.run(served.idle(folder)),
    "copied": lambda folder, args: output.copied(folder, int(args[0])),
    "followed": lambda folder, args: asyncio.run(output.followed(folder, int(args[0]), args[1], CARRIES[args[2]])),
    "stamped": lambda folder, args: asyncio.run(output.stamped(folder, int(args[0]), CARRIES[args[1]])),
    "load": lambda folder, args: load(int(args[0])),
    "yaml": lambda folder, args: yaml_load(int(args[0])),
}


def main(arguments: list[str]) -> None:
    job, *rest = arguments
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        print(json.dumps(JOBS[job](Path(folder), rest)))


if __name__ == "__main__":
    main(sys.argv[1:])
