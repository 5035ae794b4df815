"""A driver that nobody here has written, held to the contract: whatever it raises, returns, or does not come back from, the runner goes
on. What it cannot be held to is said in docs/drivers.md: it shares the runner's process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from drivers import stalls
from drivers.base import Driver, Finding, Fingerprint, ProcessSpec, ShellContext, ShellProgram, TaskContext
from runner.errors import DriverError, RecoverError
from runner.model import wording
from runner.model.fault import quote
from runner.model.result import Outcome
from runner.model.value import Value

T = TypeVar("T")

HEALTH_SECONDS = 3.0
"""How long a driver may take to say how it is: who asks a node waits for it."""
FINDING_SECONDS = 60.0
"""How long it may take to find an attempt again."""
SALVAGE_SECONDS = 10.0
LONGEST_WORD = 2000
"""Of a description, and of the value of an attribute, in characters."""
MOST_ATTRIBUTES = 50


class Guarded(Driver[Any]):
    """It as it is known to the runner. Its attempts end as the contract wants it; what else it says is looked at first."""

    def __init__(self, driver: Driver[Any]) -> None:
        # Looked at once: they may be properties, which could raise later.
        self.type = driver.type  # type: ignore[misc]  # a class variable by contract
        self.capabilities = driver.capabilities  # type: ignore[misc]  # a class variable by contract
        self.spec_model = driver.spec_model  # type: ignore[misc]  # a class variable by contract
        self._driver = driver
        self._asked: asyncio.Task[Fingerprint] | None = None
        self._watch = stalls.Watch()

    async def fingerprint(self) -> Fingerprint:
        """Raises nothing, and is there in time."""
        if self._asked is None or self._asked.done():
            # Owned by `_asked` until it is done: one that swallows its cancellation could not be waited for.
            self._asked = asyncio.get_running_loop().create_task(
                self._health(), name=f"the health check of {self.type!r}"
            )
        asked = self._asked
        done, _ = await asyncio.wait([asked], timeout=HEALTH_SECONDS)
        if not done:
            asked.cancel()
            return _unhealthy(f"its health check has not come back within {HEALTH_SECONDS:g} s")
        if asked.cancelled():
            return _unhealthy("its health check was given up")
        return asked.result()

    async def _health(self) -> Fingerprint:
        try:
            found = await self._call("fingerprint", self._driver.fingerprint)
        except Exception as error:  # noqa: BLE001 - it may raise anything
            reason = wording.exception(error) if not isinstance(error, DriverError) else error.message
            return _unhealthy(f"its health check failed: {reason}")
        return _cut(found) if _is_fingerprint(found) else _unhealthy("its health check gave no Fingerprint of texts")

    def check(
        self, spec: Mapping[str, Any], exports: Sequence[str], confidential: Collection[str] = ()
    ) -> Sequence[Finding]:
        try:
            found = list(self._driver.check(spec, exports, confidential))
            if all(map(_is_finding, found)):
                return found
            problem = "it gave something that is no Finding"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it may raise anything
            problem = wording.exception(error)
        return (Finding((), f"the driver of {quote(self.type)} failed to check this spec: {problem}"),)

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        return await self._call("start", lambda: self._driver.start(ctx, key))

    async def wait(self, handle: bytes) -> Outcome:
        outcome: Any = await self._call("wait", lambda: self._driver.wait(handle))
        if not isinstance(outcome, Outcome):
            raise DriverError(
                f"wait() of the driver of {self.type!r} gave an object of type {type(outcome).__name__}, not an Outcome"
            )
        return outcome

    async def recover(self, ctx: TaskContext, handle: bytes) -> None:
        try:
            await self._call("recover", lambda: self._driver.recover(ctx, handle), FINDING_SECONDS)
        except TimeoutError as error:
            raise RecoverError(f"the driver of {self.type!r} did not find the attempt again: {error}") from error

    async def signal(self, handle: bytes, signal: str) -> None:
        await self._call("signal", lambda: self._driver.signal(handle, signal))

    async def stop(self, handle: bytes, grace: float) -> None:
        await self._call("stop", lambda: self._driver.stop(handle, grace))

    async def destroy(self, handle: bytes) -> None:
        await self._call("destroy", lambda: self._driver.destroy(handle))

    async def shell(self, ctx: ShellContext, key: str) -> ShellProgram:
        program: Any = await self._call("shell", lambda: self._driver.shell(ctx, key))
        if not isinstance(program, ShellProgram):
            raise DriverError(
                f"shell() of the driver of {self.type!r} gave an object of type {type(program).__name__}, not a ShellProgram"
            )
        given: Any = program.program
        if not isinstance(given, ProcessSpec) or not all(map(_is_text, program.withheld)):
            raise DriverError(
                f"shell() of the driver of {self.type!r} gave a ShellProgram without a ProcessSpec and names"
            )
        return program

    async def salvage(self, temp: str, key: str, task: str) -> Sequence[tuple[str, Value]]:
        found = list(await self._call("salvage", lambda: self._driver.salvage(temp, key, task), SALVAGE_SECONDS))
        if not all(_is_export(one) for one in found):
            raise DriverError(f"salvage() of the driver of {self.type!r} gave something that is no name with a Value")
        return found

    async def clear(self, temp: str, key: str) -> None:
        await self._call("clear", lambda: self._driver.clear(temp, key))

    def sweep(self, temp: str, live: Collection[str]) -> None:
        try:
            self._driver.sweep(temp, live)
        except SystemExit as error:
            raise self._ended_us("sweep") from error

    async def _call(self, verb: str, call: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        """What it gives. Raises what it raises, but for what would be taken for something else: that the attempt is given up, or that
        the runner has to end; and TimeoutError."""
        holder = object()
        self._watch.hold(holder)
        try:
            if seconds is None:
                return await call()
            async with asyncio.timeout(seconds) as limit:
                return await call()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise DriverError(
                f"the driver of {self.type!r} gave up in {verb}(): what it waited for there was cancelled"
            ) from None
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._ended_us(verb) from error
        except TimeoutError:
            if seconds is not None and limit.expired():
                raise TimeoutError(f"{verb}() has not come back within {seconds:g} s") from None
            raise
        finally:
            self._watch.release(holder)

    def _ended_us(self, verb: str) -> DriverError:
        return DriverError(f"the driver of {self.type!r} tried to end the runner in {verb}() (sys.exit)")


def _unhealthy(why: str) -> Fingerprint:
    return Fingerprint(healthy=False, description=why[:LONGEST_WORD])


def _cut(found: Fingerprint) -> Fingerprint:
    """So much of it as everybody who asks can be sent."""
    attributes = list(found.attributes.items())[:MOST_ATTRIBUTES]
    return Fingerprint(
        healthy=found.healthy,
        description=found.description[:LONGEST_WORD],
        attributes={name[:LONGEST_WORD]: text[:LONGEST_WORD] for name, text in attributes},
    )


def _is_fingerprint(found: Any) -> bool:
    if not isinstance(found, Fingerprint):
        return False
    healthy: Any = found.healthy
    attributes: Any = found.attributes
    return (
        isinstance(healthy, bool)
        and _is_text(found.description)
        and isinstance(attributes, Mapping)
        and all(_is_text(name) and _is_text(text) for name, text in attributes.items())
    )


def _is_finding(found: Any) -> bool:
    if not isinstance(found, Finding):
        return False
    path: Any = found.path
    warning: Any = found.warning
    return (
        isinstance(path, tuple)
        and all(isinstance(part, str | int) for part in path)
        and _is_text(found.message)
        and isinstance(warning, bool)
        and isinstance(found.offset, int | None)
    )


def _is_export(one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and _is_text(one[0]) and isinstance(one[1], Value)


def _is_text(text: Any) -> bool:
    """Whether it is one that can be sent."""
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
