"""A driver whose attempts do what a test tells them: the twin for everything that talks to drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict

from drivers.base import Capabilities, Driver, Spec, SpecModel, TaskContext
from runner.errors import RecoverError
from runner.model.result import Outcome, Status

Hook = Callable[[TaskContext], Awaitable[None]]


class ScriptedSpec(Spec):
    """Takes anything."""

    model_config = ConfigDict(extra="allow")


@dataclass(slots=True)
class ScriptedAttempt:
    """What became known of one attempt. `end` is how it ends; `calls` are the verbs that it saw, in order."""

    key: str
    end: asyncio.Future[Outcome]
    context: TaskContext | None = None
    waiting: bool = False
    """Somebody waits, or waited, for its end."""
    calls: list[tuple[Any, ...]] = field(default_factory=list)


class ScriptedDriver(Driver[ScriptedSpec]):
    """Attempts run until `finish`, or until they are stopped. It outlives the dispatcher, as a process host does.

    `on_start` is awaited within every `start`, and may raise; `on_stop` is awaited in place of ending the attempt as aborted.
    """

    def __init__(
        self,
        type: str = "scripted",
        capabilities: Capabilities | None = None,
        spec_model: SpecModel | None = None,
    ) -> None:
        # Set on the object: each test has task types of its own.
        self.type = type  # type: ignore[misc]  # a class variable by contract
        self.capabilities = capabilities or Capabilities()  # type: ignore[misc]  # a class variable by contract
        self.spec_model = spec_model or ScriptedSpec  # type: ignore[misc]  # a class variable by contract
        self.attempts: dict[str, ScriptedAttempt] = {}
        self.started: list[str] = []
        """The keys that were really begun, in order: one that is found again is not begun again."""
        self.swept: list[tuple[str, frozenset[str]]] = []
        """What `sweep` was given, each time."""
        self.on_start: Hook | None = None
        self.on_stop: Callable[[ScriptedAttempt, float], Awaitable[None]] | None = None

    def attempt(self, key: str) -> ScriptedAttempt:
        """The attempt of this key, also one that has not been started."""
        if key not in self.attempts:
            self.attempts[key] = ScriptedAttempt(key, asyncio.get_running_loop().create_future())
        return self.attempts[key]

    def finish(self, key: str, outcome: Outcome) -> None:
        """End the attempt, unless it has ended."""
        end = self.attempt(key).end
        if not end.done():
            end.set_result(outcome)

    def break_down(self, key: str, error: Exception) -> None:
        """Let `wait` raise."""
        self.attempt(key).end.set_exception(error)

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        attempt = self.attempt(key)
        attempt.calls.append(("start",))
        if attempt.context is None:
            attempt.context = ctx
            if self.on_start is not None:
                await self.on_start(ctx)
            self.started.append(key)
        attempt.context = ctx
        return f"handle of {key}".encode()

    async def recover(self, ctx: TaskContext, handle: bytes) -> None:
        key = _key(handle)
        if key not in self.attempts:
            raise RecoverError
        self.attempts[key].calls.append(("recover",))
        self.attempts[key].context = ctx

    async def wait(self, handle: bytes) -> Outcome:
        attempt = self.attempt(_key(handle))
        attempt.waiting = True
        return await asyncio.shield(attempt.end)

    async def signal(self, handle: bytes, signal: str) -> None:
        self.attempt(_key(handle)).calls.append(("signal", signal))

    async def stop(self, handle: bytes, grace: float) -> None:
        attempt = self.attempt(_key(handle))
        attempt.calls.append(("stop", grace))
        if self.on_stop is not None:
            await self.on_stop(attempt, grace)
        else:
            self.finish(attempt.key, Outcome(status=Status.ABORTED))

    async def destroy(self, handle: bytes) -> None:
        self.attempt(_key(handle)).calls.append(("destroy",))

    def sweep(self, temp: str, live: Collection[str]) -> None:
        self.swept.append((temp, frozenset(live)))


def _key(handle: bytes) -> str:
    return handle.decode().removeprefix("handle of ")
