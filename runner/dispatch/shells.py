"""Shells where attempts run or ran, on this runner, by its drivers."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from drivers.base import Driver, ProcessSpec, ShellProgram, Spec
from drivers.registry import Registry
from runner import expressions
from runner.dispatch.render import SpecError, rendered_env, rendered_spec
from runner.dispatch.secrets import GroupInputs, Secrets
from runner.errors import DriverError, NoShellError, StartError, TemplateError
from runner.expressions import DEFAULT_MILLISECONDS
from runner.model.fault import quote
from runner.model.shell import USUAL_PROGRAM, Conversation, Shell, ShellPlace, ShellRequest, Size

GRACE_SECONDS = 4.0
"""Between the polite and the final signal, for what does not end when its terminal is gone."""
STARTING_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Terminal(Conversation, Protocol):
    async def aclose(self, grace: float) -> None:
        """End it, by force after `grace` seconds; when this returns nothing of it runs."""


class Terminals(Protocol):
    """The process host, as far as it is concerned."""

    async def converse(self, key: str, spec: ProcessSpec, size: Size | None) -> Terminal:
        """Raises StartError with 125, 126 or 127, and ProcessHostError."""


class _Context(Struct, frozen=True, kw_only=True):
    """Implements drivers.base.ShellContext."""

    group_id: str
    group_name: str
    task_name: str
    attempt: int
    spec: Spec
    env: dict[str, str]
    workspace: str
    temp: str
    command: Sequence[str]
    secrets: Secrets | None

    def withholds(self, text: str) -> bool:
        return self.secrets is not None and self.secrets.contains(text)


class Shells:
    def __init__(
        self,
        *,
        registry: Registry,
        processes: Terminals,
        temp: str,
        keeping: str,
        template_milliseconds: int = DEFAULT_MILLISECONDS,
    ) -> None:
        """`temp` is a private folder for the drivers; `keeping` says to a person what keeps a workspace."""
        self._registry = registry
        self._processes = processes
        self._temp = temp
        self._keeping = keeping
        self._template_milliseconds = template_milliseconds
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self, place: ShellPlace, request: ShellRequest) -> AsyncIterator[Shell]:
        """A shell, for as long as this is entered; afterwards nothing of it runs or is left. Raises NoShellError where there is no place
        for it, StartError where its program cannot be started, ProcessHostError."""
        driver = self._driver(place)
        if not await asyncio.to_thread(os.path.isdir, place.workspace):
            raise NoShellError(f"the workspace of the group is gone ({place.workspace}): {self._keeping}")
        key = f"{place.group}/{place.task.name}/{place.attempt}/shell-{secrets.token_hex(8)}"
        terminal: Terminal | None = None
        try:
            shell = await self._program(driver, place, request, key)
            program = shell.program
            if request.size is not None:
                program = replace(program, env={**program.env, "TERM": request.known_term})
            terminal = await self._processes.converse(key, program, request.size)
            yield Shell(terminal, tuple(shell.withheld))
        finally:
            # Owned by `_ending` until it is done: whoever asked may be cancelled more than once.
            ending = asyncio.get_running_loop().create_task(self._end(driver, key, terminal))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            await asyncio.shield(ending)

    async def aclose(self) -> None:
        """Wait for what is being ended. May be repeated."""
        if self._ending:
            await asyncio.wait(self._ending)

    async def _end(self, driver: Driver[Any], key: str, terminal: Terminal | None) -> None:
        if terminal is not None:
            await terminal.aclose(GRACE_SECONDS)
        try:
            await driver.clear(self._temp, key)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything, and this is only tidying up
            _log.error("clear of %s: %r", driver.type, error, extra={"action": "shell_clear"})

    def _driver(self, place: ShellPlace) -> Driver[Any]:
        type = place.task.type
        driver = self._registry.get(type)
        if driver is None:
            raise NoShellError(self._registry.lack(type))
        if driver.capabilities.shell is not True:
            raise NoShellError(
                f"a task of the type {quote(type)} has no shell; `runner driver ls` shows which types have one"
            )
        return driver

    async def _program(self, driver: Driver[Any], place: ShellPlace, request: ShellRequest, key: str) -> ShellProgram:
        bindings = place.bindings
        known = Secrets(lambda name: None)
        try:
            known.add_bindings(bindings, GroupInputs())
            scope = expressions.Scope(bindings, expressions.Work(self._template_milliseconds))
            spec = rendered_spec(place.task, driver, scope, known)
            env = rendered_env(bindings, known, scope.work)
        except (TemplateError, SpecError) as error:
            raise NoShellError(f"what the task was given cannot be made again: {known.mask(str(error))}") from error
        context = _Context(
            group_id=bindings.group_id,
            group_name=bindings.group_name,
            task_name=bindings.task_name,
            attempt=place.attempt,
            spec=spec,
            env=dict(env),
            workspace=place.workspace,
            temp=self._temp,
            command=request.command or (USUAL_PROGRAM,),
            secrets=None if request.secrets else known,
        )
        try:
            async with asyncio.timeout(STARTING_SECONDS):
                return await driver.shell(context, key)
        except TimeoutError:
            raise NoShellError(f"the driver of {quote(place.task.type)} has not made a shell in time") from None
        except StartError:
            raise
        except DriverError as error:
            raise NoShellError(known.mask(error.message)) from error
        except Exception as error:  # noqa: BLE001 - a driver may raise anything, and quote what nobody should see
            words = f"the driver of {quote(place.task.type)} failed to make a shell"
            _log.error("%s: %s", words, known.mask(repr(error)), extra={"action": "shell_failed"})
            raise NoShellError(f"{words}; the runner's log says more") from None
