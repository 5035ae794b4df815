"""A driver whose attempts are one process each, for authors of plugins: it outlives the runner, and is found again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from msgspec.structs import replace

from drivers.base import (
    Capabilities,
    Driver,
    DriverError,
    Outcome,
    Process,
    ProcessExit,
    ProcessSpec,
    RecoverError,
    Recovery,
    SpecT,
    Status,
    TaskContext,
    Value,
)
from runner.errors import ProcessHostError

TIMEOUT_EXIT_CODE = 124


@dataclass(slots=True)
class _Attempt:
    context: TaskContext
    key: str
    process: Process | None = None


class ProcessDriver(Driver[SpecT]):
    """Say with `program` what is to be started, and with `outputs` what it has exported. What it prints is the task's log; it is stopped,
    paused and timed by what owns it, which goes on where the runner was killed."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        recovery=Recovery.ATTACH, deadline=True, signals=frozenset({"pause", "start", "destroy"})
    )

    def __init__(self) -> None:
        self._attempts: dict[bytes, _Attempt] = {}

    @abstractmethod
    async def program(self, ctx: TaskContext, spec: SpecT) -> ProcessSpec:
        """The process of this attempt; its `timeout` and `grace` are those of the task. May be asked again after a crash, for one that
        runs by then: so it changes nothing. Raises DriverError."""

    async def outputs(self, ctx: TaskContext, spec: SpecT, exit: ProcessExit) -> Mapping[str, str | Value]:
        """What the attempt exports, whose process ended with 0; maybe in another runner than began it."""
        return {}

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        attempt = self._attempts.setdefault(key.encode(), _Attempt(ctx, key))
        if attempt.process is None:
            program = await self.program(ctx, cast(SpecT, ctx.spec))
            program = replace(program, timeout=ctx.timeout, grace=ctx.grace)
            try:
                attempt.process = await ctx.processes.spawn(key, program, ctx.log)
            except ProcessHostError as error:
                raise _lost(error) from error
        return key.encode()

    async def recover(self, ctx: TaskContext, handle: bytes) -> None:
        attempt = _Attempt(ctx, handle.decode())
        attempt.process = await ctx.processes.attach(attempt.key, ctx.log)
        if attempt.process is None:
            raise RecoverError("what owns the processes does not know it any more")
        self._attempts[handle] = attempt

    async def wait(self, handle: bytes) -> Outcome:
        attempt = self._attempts[handle]
        assert attempt.process is not None, "it was started"
        try:
            exit = await attempt.process.wait()
        except ProcessHostError as error:
            raise _lost(error) from error
        outcome = Outcome(
            status=Status.FAILED if exit.exit_code else Status.SUCCESS,
            exit_code=exit.exit_code,
            signal=exit.signal,
            kill=exit.kill,
            started_at=exit.started_at,
            finished_at=exit.finished_at,
        )
        if exit.cause == "timeout":
            return replace(outcome, status=Status.FAILED, reason="timeout", exit_code=TIMEOUT_EXIT_CODE)
        if exit.cause == "stopped":
            return replace(outcome, status=Status.ABORTED)
        if exit.exit_code:
            return outcome
        outputs = await self.outputs(attempt.context, cast(SpecT, attempt.context.spec), exit)
        values = {name: value if isinstance(value, Value) else Value(value) for name, value in outputs.items()}
        return replace(outcome, outputs=values)

    async def signal(self, handle: bytes, signal: str) -> None:
        attempt = self._attempts.get(handle)
        if attempt is not None:
            await attempt.context.processes.signal(attempt.key, cast(Literal["pause", "start", "destroy"], signal))

    async def stop(self, handle: bytes, grace: float) -> None:
        attempt = self._attempts.get(handle)
        if attempt is not None:
            await attempt.context.processes.stop(attempt.key, grace)

    async def destroy(self, handle: bytes) -> None:
        attempt = self._attempts.pop(handle, None)
        if attempt is not None:
            with suppress(ProcessHostError):  # one that is gone has forgotten all
                await attempt.context.processes.forget(attempt.key)


def _lost(error: ProcessHostError) -> DriverError:
    return DriverError(error.message, reason="supervisor_lost")
