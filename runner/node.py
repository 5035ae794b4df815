"""The composition root: what names concrete classes. What is opened here closes itself in reverse order. Peers are put together in
`neighbours.py`, and what a node has beside this when it serves in `serving/composition.py`."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct

from drivers.registry import Registry
from runner.backup import RESTORED
from runner.clock import Clock, SystemClock
from runner.config import Settings
from runner.forwarding import Forwarding
from runner.model.words import counted
from runner.process import descriptors, launch
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost, Leave, remain
from runner.sealing import Sealer
from runner.store.base import Archive
from runner.store.sqlite import SqliteStore
from runner.tasktypes import registry
from runner.workspace import make_private, make_temp, run_temp, unmake_temp

if TYPE_CHECKING:
    from runner.dispatch.shells import Shells
    from runner.engine.engine import Engine
    from runner.logs.base import LogStore
    from runner.model.watch import Happening
    from runner.neighbours import Neighbours
    from runner.telemetry.base import Telemetry

LOCAL_RUNNER = "local"
FLUSH_SECONDS = 5.0

OnRelease = Callable[[str], None]
Work = Callable[[], Coroutine[None, None, None]]

_log = logging.getLogger(__name__)


class Node(Struct, frozen=True, kw_only=True):
    """A runner that is open for work."""

    engine: Engine
    store: Archive
    logs: LogStore
    registry: Registry
    clock: Clock
    sealer: Sealer
    processes: LastingHost
    shells: Shells
    neighbours: Neighbours | None = None
    """None where it does not serve."""

    def watch(self, id: str) -> AsyncIterator[Sequence[Happening]]:
        """The story of a group as it happens, up to its end."""
        from runner.engine.story import told

        return told(self.engine, self.logs, id)


def _ignored(group: str) -> None:
    pass


class Role(Struct, frozen=True, kw_only=True):
    """What one node is beside what others are. `name` is how results call it; `on_release` is told of groups that are over;
    `prepare` is given its engine before that takes up what a former life has left; `leave` ends the process when it has lost what its tasks
    run under; with `traced` attempts are told of their traces."""

    name: str = LOCAL_RUNNER
    on_release: OnRelease = _ignored
    prepare: Callable[[Engine], None] = lambda engine: None
    leave: Leave = remain
    telemetry: Sequence[Telemetry] = ()
    traced: bool = False
    forwarding: Forwarding | None = None


def _load_plugins(types: Registry) -> None:
    """All of them, now: what a node can do it says to whoever asks, and later it must not be held up by an import."""
    for unusable in types.load():
        extra = {"action": "plugin_unusable", "type": unusable.type}
        _log.warning("the task type %r cannot be used: %s", unusable.type, unusable, extra=extra)


@asynccontextmanager
async def open_run_node(run_dir: Path, settings: Settings) -> AsyncIterator[Node]:
    """A node for `runner run`: its state in `run_dir`, its processes told to die with this one."""
    _keep_no_core_files()
    descriptors.use_all()
    async with AsyncExitStack() as stack:
        make_private(settings.state_dir)
        store = _open_store(stack, run_dir)  # first, for its lock: another run of the same group keeps what it has
        temp = stack.enter_context(run_temp(settings.temp_dir(run_dir), settings.run_temp_prefix))
        _warn_of_disk(temp, settings)

        async def start(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.start_private(
                settings.state_dir,
                temp,
                incarnation=incarnation,
                containment=settings.containment,
                meanwhile=_import_parts,
            )

        host = await LastingHost.open(start)
        stack.push_async_callback(host.aclose)
        yield await _assembled(stack, run_dir, temp, settings, store, host, registry(settings))


@asynccontextmanager
async def open_node(settings: Settings, role: Role = Role()) -> AsyncIterator[Node]:  # noqa: B008 - it is frozen
    """A long-lived node: its processes outlive this one, and the next node on the same state directory goes on with them."""
    _keep_no_core_files()
    descriptors.use_all()
    async with AsyncExitStack() as stack:
        folder = settings.state_dir
        store = _open_store(stack, folder, role.telemetry)
        temp = make_temp(settings.temp_dir(folder))
        stack.callback(unmake_temp, temp)
        _warn_of_disk(temp, settings)

        async def start(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.connect(folder, incarnation=incarnation, containment=settings.containment)

        host = await LastingHost.open(start, role.leave)
        stack.push_async_callback(host.aclose)
        types = registry(settings)
        await asyncio.to_thread(_load_plugins, types)
        node = await _assembled(stack, folder, temp, settings, store, host, types, role)
        stack.push_async_callback(_flushed, node.engine)
        _end_what_was_restored(node, folder / RESTORED)
        yield node


@asynccontextmanager
async def open_shells(settings: Settings) -> AsyncIterator[Shells]:
    """Shells on what `runner run` has kept, or does at this moment, which is left alone; they are told to die with this process."""
    from runner.dispatch.shells import Shells

    _keep_no_core_files()
    async with AsyncExitStack() as stack:
        make_private(settings.state_dir)
        folder = settings.temp_dir(settings.run_dir(f"shell-{secrets.token_hex(8)}"))
        temp = stack.enter_context(run_temp(folder, settings.run_temp_prefix))

        async def start(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.start_private(
                settings.state_dir, temp, incarnation=incarnation, containment=settings.containment
            )

        host = await LastingHost.open(start)
        stack.push_async_callback(host.aclose)
        shells = Shells(
            registry=registry(settings),
            processes=host,
            temp=str(temp),
            keeping="`runner run --isolated` leaves it there with --keep-workspace",
            template_milliseconds=settings.template_milliseconds,
        )
        stack.push_async_callback(shells.aclose)
        yield shells


def _keep_no_core_files() -> None:
    """A crash, or Ctrl-\\, must not write the secrets that are in memory to a disk. The supervisor and the tasks inherit this;
    a task that wants a core file can raise the limit again."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def become_supervisor(settings: Settings) -> NoReturn:
    """Turn this process into the supervisor that the nodes on this state directory will find. Raises ProcessHostError."""
    make_private(settings.state_dir)
    launch.become(settings.state_dir, containment=settings.containment, notify=settings.notify_address)


async def _flushed(engine: Engine) -> None:
    """The supervisor lives on, and has to forget what the engine knows: else it would keep it, and itself, for the next node."""
    done = asyncio.Event()
    engine.flush(done.set)
    with suppress(TimeoutError):  # a full disk must not keep the node from closing
        async with asyncio.timeout(FLUSH_SECONDS):
            await done.wait()


def _end_what_was_restored(node: Node, mark: Path) -> None:
    """What was not over when a backup was taken must not go on from there. Nothing of it has been set in motion yet: that
    happens at the end of this turn of the loop."""
    if not mark.exists():
        return
    unfinished = node.store.unfinished()
    for id in unfinished:
        node.engine.cancel_once(id, at_once=True)
    extra = {"action": "restored", "groups": len(unfinished)}
    ended = counted(len(unfinished), "group")
    _log.warning("this state was restored; not over, and ended now: %s", ended, extra=extra)
    node.engine.when_durable(lambda error: None if error else mark.unlink(missing_ok=True))


def _warn_of_disk(temp: Path, settings: Settings) -> None:
    if not settings.temp_in_memory:
        _log.warning(
            "no folder in memory (tmpfs) was found: what tasks export, and the files that they are given, lie in %s while "
            "they run, which may be on a disk",
            temp,
            extra={"action": "temp_on_disk"},
        )


def _open_store(stack: AsyncExitStack, folder: Path, telemetry: Sequence[Telemetry] = ()) -> Archive:
    make_private(folder)
    loop = asyncio.get_running_loop()
    if telemetry:
        from runner.telemetry.observed import ObservedStore

        observed = ObservedStore.open(folder / "state.db", call_soon_threadsafe=loop.call_soon_threadsafe)
        observed.telemetry = telemetry
        store: SqliteStore = observed
    else:
        store = SqliteStore.open(folder / "state.db", call_soon_threadsafe=loop.call_soon_threadsafe)
    stack.callback(store.close)
    return store


def _import_parts() -> None:
    """What only an open node is made of takes about as long to import as a supervisor takes to start."""
    import runner.dispatch.local
    import runner.engine.engine
    import runner.engine.story
    import runner.logs.files  # noqa: F401 - for `_assembled`


async def _assembled(
    stack: AsyncExitStack,
    folder: Path,
    temp: Path,
    settings: Settings,
    store: Archive,
    host: LastingHost,
    types: Registry,
    role: Role = Role(),  # noqa: B008 - it is frozen
) -> Node:
    from runner.dispatch.local import LocalDispatcher
    from runner.dispatch.shells import Shells
    from runner.engine.engine import Engine
    from runner.logs.files import FileLogStore

    sealer = Sealer.open_or_create(settings.key_file)
    logs = FileLogStore(folder / "logs", sealer=sealer, limit=settings.log_bytes)
    stack.callback(logs.close)
    clock = SystemClock()
    dispatcher = await stack.enter_async_context(
        LocalDispatcher(
            name=role.name,
            registry=types,
            processes=host,
            logs=logs,
            temp=str(temp),
            clock=clock,
            template_milliseconds=settings.template_milliseconds,
            on_release=role.on_release,
        )
    )
    shells = Shells(
        registry=types,
        processes=host,
        temp=str(temp),
        keeping="a node keeps it until the group is over, and then for as long as `retention.workspaces` says",
        template_milliseconds=settings.template_milliseconds,
    )
    stack.push_async_callback(shells.aclose)
    neighbours = None
    if (forwarding := role.forwarding) is not None:
        from runner.neighbours import Neighbours
        from runner.peers import Own

        own = Own(
            dispatcher=dispatcher,
            types=types,
            labels=forwarding.labels,
            load=lambda: engine.load,
            is_over=lambda group: engine.is_over(group),  # noqa: PLW0108 - it comes into being behind this
        )
        neighbours = Neighbours(forwarding, own, role.name, clock, logs)
    engine = Engine(
        store=store,
        clock=clock,
        dispatcher=dispatcher,
        targets=None if neighbours is None else neighbours.peers,
        sealer=sealer,
        max_parallel=settings.max_parallel,
        traced=role.traced,
    )
    stack.callback(engine.close)
    role.prepare(engine)
    engine.recover()
    calm_collector()
    return Node(
        engine=engine,
        store=store,
        logs=logs,
        registry=types,
        clock=clock,
        sealer=sealer,
        processes=host,
        shells=shells,
        neighbours=neighbours,
    )


def calm_collector() -> None:
    """What a node is made of, and its groups, live long: walking them again and again took a tenth of a task's time. A group
    that is over is garbage that only a walk finds, 16 KiB of it: so all are walked whenever there are a quarter more of
    them, which Python itself looks after."""
    gc.freeze()
    gc.set_threshold(20_000, 4, 2)
