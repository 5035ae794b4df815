"""`LastingHost`: a process host that gets itself a new supervisor when the one that it has dies."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Self

from drivers.base import Process, ProcessSpec
from runner.errors import ProcessHostError
from runner.model.log import LogSink
from runner.model.shell import Size
from runner.process import remains
from runner.process.channel import EndedError
from runner.process.host import SupervisorHost
from runner.process.terminal import Terminal

Open = Callable[[str], Awaitable[SupervisorHost]]
"""Connects to a supervisor; one that it has to start gets this incarnation. Raises ProcessHostError."""

Leave = Callable[[ProcessHostError], None]
"""Ends this process at once: a supervisor that lives on has been lost, and with it all that the runner has set going. Nothing of
that must be written down, for the next runner finds it as it is."""

SHORT_LIFE_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0
_log = logging.getLogger(__name__)


def new_incarnation() -> str:
    return secrets.token_hex(16)


def remain(error: ProcessHostError) -> None:
    """Go on without any supervisor: every task fails."""


class LastingHost:
    """Implements drivers.base.ProcessHost over one supervisor after the other, on one asyncio loop. Made by `open`.

    The next life begins at the moment at which the former is seen to end: what is asked of it waits until it is there.
    What the former has left is ended meanwhile. One short life after the other begins ever later. One that lives on (it was
    taken over by another runner, or speaks what this one does not understand) is not replaced: see `Leave`.
    """

    def __init__(self, open: Open, host: SupervisorHost, leave: Leave) -> None:
        """For `open` alone."""
        self._open = open
        self._leave = leave
        self._incarnation = host.incarnation
        self._closing = False
        self._born = 0.0
        self.restarts = 0
        """How many supervisors have ended that should not."""
        self._short_lives = 0
        self._ended: dict[str, asyncio.Future[Mapping[str, Any] | None]] = {}
        """By incarnation: the end of what it left."""
        self._host: asyncio.Future[SupervisorHost] = asyncio.get_running_loop().create_future()
        self._host.set_result(host)
        self._use(host)

    @classmethod
    async def open(cls, open: Open, leave: Leave = remain) -> Self:
        """Raises ProcessHostError when there can be no first supervisor."""
        return cls(open, await open(new_incarnation()), leave)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what it has, as `SupervisorHost.aclose` does. May be repeated."""
        self._closing = True
        try:
            host = await asyncio.shield(self._host)
        except ProcessHostError:
            host = None
        await asyncio.gather(*self._ended.values())
        if host is not None:
            await host.aclose()

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def pid(self) -> int | None:
        """Of the present supervisor; None while there is none."""
        return self._host.result().pid if self._is_there else None

    async def spawn(self, key: str, spec: ProcessSpec, sink: LogSink) -> Process:
        wanted = self._incarnation
        host = await self._present()
        if host.incarnation != wanted:
            raise ProcessHostError("the supervisor is another one than was expected")
        return await host.spawn(key, spec, sink)

    async def converse(self, key: str, spec: ProcessSpec, size: Size | None) -> Terminal:
        """As of the present supervisor, with which it ends."""
        return await (await self._present()).converse(key, spec, size)

    async def attach(self, key: str, sink: LogSink) -> Process | None:
        return await (await self._present()).attach(key, sink)

    async def signal(self, key: str, signal: Literal["pause", "start", "destroy"]) -> None:
        await (await self._present()).signal(key, signal)

    async def stop(self, key: str, grace: float) -> None:
        await (await self._present()).stop(key, grace)

    async def forget(self, key: str) -> None:
        await (await self._present()).forget(key)

    async def list(self) -> Sequence[str]:
        return await (await self._present()).list()

    async def end_former(self, incarnation: str) -> Mapping[str, Any] | None:
        if incarnation == self._incarnation and not self._has_ended:
            return None
        return await asyncio.shield(self._end(incarnation))

    @property
    def _is_there(self) -> bool:
        return self._host.done() and self._host.exception() is None

    @property
    def _has_ended(self) -> bool:
        """Whether the present supervisor has, which may be known to who has just asked it, a moment before `_on_lost` is told."""
        return self._is_there and self._host.result().ended

    async def _present(self) -> SupervisorHost:
        """The supervisor, once it is there. One that could not be started is tried again by whoever asks next."""
        if self._host.done():
            if self._host.exception() is None:
                return self._host.result()
            if not self._closing:
                self._renew(None)
        return await asyncio.shield(self._host)

    def _use(self, host: SupervisorHost) -> None:
        self._incarnation = host.incarnation
        self._born = asyncio.get_running_loop().time()
        host.on_lost(lambda error: self._on_lost(host, error))

    def _on_lost(self, host: SupervisorHost, error: ProcessHostError) -> None:
        if self._closing:
            return
        if not (isinstance(error, EndedError) or host.private):
            extra = {"action": "supervisor_taken", "pid": host.pid}
            _log.error(
                "the supervisor is lost to this runner, and no task can be run until it is started again: %s",
                error.message,
                extra=extra,
            )
            self._leave(error)
            return
        self.restarts += 1
        _log.error("%s; another is started", error.message, extra={"action": "supervisor_lost", "pid": host.pid})
        self._end(host.incarnation)
        short = asyncio.get_running_loop().time() - self._born < SHORT_LIFE_SECONDS
        self._short_lives = self._short_lives + 1 if short else 0
        self._renew(host)

    def _end(self, incarnation: str) -> asyncio.Future[Mapping[str, Any] | None]:
        """End what a former life has left, once. Owned by `_ended`, which `aclose` waits for."""
        if incarnation not in self._ended:
            # In a thread, for it looks through /proc and pauses.
            self._ended[incarnation] = asyncio.ensure_future(asyncio.to_thread(remains.end, incarnation))
        return self._ended[incarnation]

    def _renew(self, former: SupervisorHost | None) -> None:
        self._incarnation = new_incarnation()
        # Owned by this object: `aclose` waits for it.
        self._host = asyncio.ensure_future(self._renewed(former, self._incarnation))
        self._host.add_done_callback(_looked_at)

    async def _renewed(self, former: SupervisorHost | None, incarnation: str) -> SupervisorHost:
        if former is not None:
            await former.aclose()
            if self._short_lives > 1:
                await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** min(self._short_lives, 10), LONGEST_PAUSE_SECONDS))
        try:
            host = await self._open(incarnation)
        except ProcessHostError as error:
            _log.error("no supervisor: %s", error.message, extra={"action": "supervisor_failed"})
            raise
        self._use(host)
        return host


def _looked_at(host: asyncio.Future[SupervisorHost]) -> None:
    """Nobody may be waiting: then an error is told by `_present`, not by the loop."""
    if not host.cancelled():
        host.exception()
