"""How a node that serves is put together: a part of the composition root (`runner.node`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from runner import nodeid, samples
from runner.clock import steady_time
from runner.config import Settings
from runner.config.service import SOCKET_NAME, Service
from runner.engine.engine import Engine
from runner.forwarding import Forwarding
from runner.node import Node, Role, Work, open_node
from runner.process.lasting import Leave, remain
from runner.retention import Keeper
from runner.rpc.premises import Premises
from runner.rpc.server import Server
from runner.telemetry import opening
from runner.telemetry.base import Telemetry
from runner.tokens import Tokens
from runner.uploads import Allowance
from runner.webhook.herald import Herald
from runner.workspace import make_private
from runner.workspaces import Workspaces

if TYPE_CHECKING:
    from runner.telemetry.prometheus import Prometheus
    from runner.telemetry.spans import Spans

_log = logging.getLogger(__name__)


class Serving(Struct, frozen=True, kw_only=True):
    """A node and the server that it is reached by."""

    node: Node
    server: Server
    keeper: Keeper
    metrics: Sequence[str] = ()
    """Where they can be read."""


@asynccontextmanager
async def open_server(settings: Settings, service: Service, leave: Leave = remain) -> AsyncIterator[Serving]:
    """A node that serves what `service` says; `leave`: see `Role`. Raises UsageError, for an address that it cannot have, say."""
    make_private(settings.state_dir)
    limits = service.limits
    allowance = Allowance(bytes=limits.workspace_bytes, entries=limits.workspace_entries)
    workspaces = Workspaces(settings.state_dir / "workspaces", allowance, steady_time())
    loop = asyncio.get_running_loop()

    def released(group: str) -> None:
        loop.run_in_executor(None, workspaces.over, group, told().retention.workspace_seconds)

    server: Server | None = None

    def told() -> Service:
        """What the node was told last."""
        return service if server is None else server.service

    herald = Herald(lambda: told().webhook)
    metrics = opening.metrics() if service.metrics.listen else None
    spans = opening.spans(service.tracing, service.name) if service.tracing.endpoint else None
    telemetry: Sequence[Telemetry] = tuple(each for each in (metrics, spans) if each is not None)

    node_id = nodeid.of(settings.state_dir / "node")
    role = Role(
        name=service.name,
        on_release=released,
        prepare=partial(_told_of, herald, metrics, spans),
        leave=leave,
        telemetry=telemetry,
        traced=bool(spans),
        forwarding=Forwarding(service=service, node=node_id, labels=lambda: told().labels),
    )
    async with opening.exported(spans), open_node(settings, role) as node:
        started = node.clock.now()
        await asyncio.to_thread(
            workspaces.sweep, frozenset(node.store.unfinished()), service.retention.workspace_seconds
        )

        def expire() -> None:
            workspaces.expire()
            workspaces.expire_kept(told().retention.workspace_seconds)

        async def end_shells(group: str) -> None:
            if server is not None:
                await server.end_shells(group)

        keeper = Keeper(
            lambda: told().retention,
            engine=node.engine,
            store=node.store,
            logs=node.logs,
            clock=node.clock,
            expire=expire,
            clear=workspaces.remove,
            end_shells=end_shells,
        )
        premises = replace(
            _premises(node, workspaces, node_id, started.wall),
            remove=keeper.remove,
            workspaces_seconds=lambda: told().retention.workspace_seconds,
        )
        socket_path = str(settings.state_dir / SOCKET_NAME)
        watchers = [opening.watcher([metrics])] if metrics else []
        server = Server(premises, service, Tokens(settings.state_dir), socket_path=socket_path, watchers=watchers)
        keeper.recover()
        telling = partial(herald.run, node.engine, node.store, node.clock, node=service.name, node_id=node_id)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(server)
            work: list[Work] = [keeper.run, telling, server.look_after]
            if node.neighbours is not None:
                work.append(node.neighbours.run)
            exposed: Sequence[str] = ()
            if metrics is not None:
                metrics.sample = partial(samples.of, node, server, settings.state_dir)
                exposed = await stack.enter_async_context(opening.exposed(metrics, service.metrics))
                work.append(metrics.measure_lag)
            await stack.enter_async_context(_beside(*work))
            yield Serving(node=node, server=server, keeper=keeper, metrics=exposed)


def _told_of(herald: Herald, metrics: Prometheus | None, spans: Spans | None, engine: Engine) -> None:
    """Let all of them know the engine."""
    engine.announce(herald.wanted, herald.wake)
    if metrics is not None:
        metrics.type_of = engine.type_of
    if spans is not None:
        spans.type_of, spans.trace_of = engine.type_of, engine.trace_of


def _premises(node: Node, workspaces: Workspaces, node_id: str, started_at: float) -> Premises:
    assert node.neighbours is not None, "it serves"
    return Premises(
        engine=node.engine,
        logs=node.logs,
        registry=node.registry,
        workspaces=workspaces,
        shells=node.shells,
        clock=node.clock,
        sealer=node.sealer,
        node_id=node_id,
        instance=node_id,  # a state that was restored from a backup has another one
        others=node.neighbours,
        started_at=started_at,
    )


@asynccontextmanager
async def _beside(*work: Work) -> AsyncIterator[None]:
    """Do all this, which never ends by itself, while this is entered."""

    async def done(work: Work) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 (it is no reason to end the node)
            _log.exception("a part of the node has failed; the others go on", extra={"action": "part_failed"})

    tasks = [asyncio.create_task(done(each)) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
