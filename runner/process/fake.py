"""`FakeHost`: the process host's twin in memory, whose programs are coroutines. For tests of drivers, without processes.

    async def greet(run: FakeRun) -> int:
        await run.write("stdout", b"hello\\n")
        return 0

    host = FakeHost({"greet": greet})

A program is chosen by the last part of `argv[0]`. It returns its exit code. SIGTERM cancels it at its next `await` unless it
shields itself: a program that means to outlive SIGTERM awaits within `run.ignoring_sigterm()`.
"""

from __future__ import annotations

import asyncio
import itertools
import os.path
import signal as signals
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

from drivers.base import ProcessExit, ProcessSpec, ProcessStarted
from runner.errors import ProcessHostError, StartError
from runner.model.log import LogSink, Stream

Program = Callable[["FakeRun"], Awaitable[int]]


class FakeRun:
    """What a program sees of itself."""

    def __init__(self, spec: ProcessSpec, sink: LogSink) -> None:
        self.spec = spec
        self.sink = sink
        self.ignores_sigterm = False
        self._running = asyncio.Event()
        self._running.set()

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    async def write(self, stream: Stream, data: bytes) -> None:
        """Output; waits while the process is paused."""
        await self._running.wait()
        self.sink.write(stream, data)

    async def forever(self) -> int:
        """Never returns; only signals end it."""
        await asyncio.Event().wait()
        return 0

    @contextmanager
    def ignoring_sigterm(self) -> Iterator[None]:
        self.ignores_sigterm = True
        try:
            yield
        finally:
            self.ignores_sigterm = False

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()


class FakeProcess:
    """Implements drivers.base.Process."""

    def __init__(self, run: FakeRun, program: Program, pid: int) -> None:
        self.run = run
        self.exit: ProcessExit | None = None
        self._loop = asyncio.get_running_loop()
        self._started = ProcessStarted(pid=pid, started_at=time.time())
        self._began = self._loop.time()
        self._cause: Literal["exited", "timeout", "stopped"] = "exited"
        self._signal: int | None = None
        self._stopped_at: float | None = None
        self._sent: list[tuple[str, float]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._left: float | None = run.spec.timeout
        self._armed_at = self._began
        self._ended = asyncio.Event()
        self._lost: ProcessHostError | None = None
        # Owned by this object until its end: `lose` and signals end it.
        self._task = self._loop.create_task(self._carry_out(program))
        self._task.add_done_callback(self._finish)
        self._arm()

    @property
    def started(self) -> ProcessStarted:
        return self._started

    async def wait(self) -> ProcessExit:
        await self._ended.wait()
        if self.exit is None:
            raise self._lost or ProcessHostError("the process was forgotten")
        return self.exit

    def signal(self, name: str) -> None:
        if self.exit is not None:
            return
        if name == "destroy":
            self._kill("stopped")
        elif self._stopped_at is not None:
            return
        elif name == "pause" and not self.run.paused:
            self.run.pause()
            self._disarm()
        elif name == "start" and self.run.paused:
            self.run.resume()
            self._arm()

    def stop(self, grace: float, cause: Literal["timeout", "stopped"] = "stopped") -> None:
        if self.exit is not None:
            return
        if self._stopped_at is None:
            self._disarm()
            self._stopped_at = self._loop.time()
            self._cause = cause
            self._sent.append(("SIGTERM", 0.0))
            self.run.resume()
            if not self.run.ignores_sigterm:
                self._end_by(signals.SIGTERM)
            self._timer = self._loop.call_later(grace, self._kill, cause)
        elif self._timer is not None and self._timer.when() > self._loop.time() + grace:
            self._timer.cancel()
            self._timer = self._loop.call_later(grace, self._kill, cause)

    def lose(self) -> None:
        """The host died, and the process with it."""
        if self.exit is None:
            self._lost = ProcessHostError("the process host ended")
            self._task.cancel()

    async def gone(self) -> None:
        await self._ended.wait()

    async def _carry_out(self, program: Program) -> int:
        try:
            return await program(self.run)
        except Exception:  # noqa: BLE001 - it ends as an interpreter would
            self.run.sink.write("stderr", traceback.format_exc().encode())
            return 1

    def _finish(self, task: asyncio.Task[int]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._lost is None:
            self.exit = self._exit(128 + (self._signal or signals.SIGKILL) if task.cancelled() else task.result())
        self._ended.set()

    def _exit(self, code: int) -> ProcessExit:
        kill = {"signals": self._sent, "containment": "none"} if self._sent else None
        return ProcessExit(
            exit_code=code,
            signal=self._signal if code == 128 + (self._signal or 0) else None,
            cause=self._cause,
            started_at=self._started.started_at,
            finished_at=self._started.started_at + self._loop.time() - self._began,
            kill=kill,
        )

    def _arm(self) -> None:
        self._armed_at = self._loop.time()
        if self._left is not None:
            self._timer = self._loop.call_later(self._left, self.stop, self.run.spec.grace, "timeout")

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._left is not None:
            self._left = max(0.0, self._left - (self._loop.time() - self._armed_at))

    def _kill(self, cause: Literal["timeout", "stopped"]) -> None:
        now = self._loop.time()
        if self._stopped_at is None:
            self._disarm()
            self._stopped_at = now
            self._cause = cause
        self._sent.append(("SIGKILL", round(now - self._stopped_at, 3)))
        self._end_by(signals.SIGKILL)

    def _end_by(self, number: signals.Signals) -> None:
        self._signal = int(number)
        self._task.cancel()


class FakeHost:
    """Implements drivers.base.ProcessHost on one asyncio loop."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = dict(programs)
        self._incarnation = str(uuid.uuid4())
        self._processes: dict[str, FakeProcess] = {}
        self._pids = itertools.count(1000)
        self.spawned: list[tuple[str, ProcessSpec]] = []
        """Every process that was really started, with its key, in order."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all processes. May be repeated."""
        await self.restart()

    @property
    def incarnation(self) -> str:
        return self._incarnation

    async def restart(self) -> None:
        """The host dies with all its processes, and begins another life."""
        processes = list(self._processes.values())
        self._processes.clear()
        self._incarnation = str(uuid.uuid4())
        for process in processes:
            process.lose()
        for process in processes:
            await process.gone()

    async def spawn(self, key: str, spec: ProcessSpec, sink: LogSink) -> FakeProcess:
        known = await self.attach(key, sink)
        if known is not None:
            return known
        name = os.path.basename(spec.argv[0]) if spec.argv else ""
        if name not in self._programs:
            raise StartError(f"{name!r} was not found", exit_code=127)
        self.spawned.append((key, spec))
        process = FakeProcess(FakeRun(spec, sink), self._programs[name], next(self._pids))
        self._processes[key] = process
        return process

    async def attach(self, key: str, sink: LogSink) -> FakeProcess | None:
        process = self._processes.get(key)
        if process is not None:
            process.run.sink = sink
        return process

    async def signal(self, key: str, signal: Literal["pause", "start", "destroy"]) -> None:
        process = self._processes.get(key)
        if process is not None:
            process.signal(signal)

    async def stop(self, key: str, grace: float) -> None:
        process = self._processes.get(key)
        if process is not None:
            process.stop(grace)

    async def forget(self, key: str) -> None:
        process = self._processes.pop(key, None)
        if process is not None:
            process.signal("destroy")
            await process.gone()

    async def end_former(self, incarnation: str) -> Mapping[str, Any] | None:
        return None  # its processes die with it

    async def list(self) -> Sequence[str]:
        return tuple(self._processes)
