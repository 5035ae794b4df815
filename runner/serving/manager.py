"""What a service manager (systemd) is told, as sd_notify(3) wants it; nothing where there is none."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_log = logging.getLogger(__name__)

_PINGS_A_PERIOD = 3
"""How often the watchdog is told within the time after which it would act."""


class Manager:
    """`address` is where it listens, empty for none; `@` stands for the NUL byte that a name without a file begins with."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._reachable = True

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str, seconds: float) -> None:
        """The end has begun, and may take so long."""
        self._tell("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    @asynccontextmanager
    async def watched(self, seconds: float) -> AsyncIterator[None]:
        """While this is entered, on a loop that is not stuck, the watchdog is told so, which acts after `seconds`; 0 for none."""
        if not seconds:
            yield
            return
        task = asyncio.create_task(self._ping(seconds / _PINGS_A_PERIOD))
        try:
            yield
        finally:
            task.cancel()

    async def _ping(self, seconds: float) -> None:
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(seconds)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines).encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
                told.setblocking(False)
                told.sendto(message, self._address)
        except OSError as error:
            if self._reachable:
                extra = {"action": "manager_unreachable"}
                _log.warning("the service manager cannot be told anything: %s", error.strerror, extra=extra)
            self._reachable = False
