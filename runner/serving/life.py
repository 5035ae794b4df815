"""The life of a node that serves: it starts, takes what it is newly told, and ends when it is asked to."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from runner import __version__
from runner.config import Configuration, reloaded
from runner.errors import ConfigurationError, ProcessHostError, RunnerError, UsageError
from runner.serving.composition import Serving, open_server
from runner.serving.manager import Manager

LEFT_AT_ONCE = 130
SUPERVISOR_LOST = 75
"""As EX_TEMPFAIL of sysexits.h: start it again."""
CLOSING_SECONDS = 10.0
"""What the end takes beside the drain, at most: calls are ended, and what is known is written down."""

_log = logging.getLogger(__name__)


Load = Callable[[], Configuration]


async def live(configuration: Configuration, *, load: Load, last_words: Callable[[], None]) -> None:
    """Serve until a signal ends it, or another runner has taken the supervisor over. `load` reads the configuration anew; `last_words` is called before the process is left at
    once. Raises RunnerError where the node cannot start."""
    settings = configuration.settings
    manager = Manager(settings.notify_address)
    extra = {"action": "node_starting", "version": __version__, "state_dir": settings.state_dir}
    _log.info("the node starts", extra=extra)
    _warn(configuration)

    def leave(error: ProcessHostError) -> None:
        extra = {"action": "left"}
        _log.error("the node is left at once; the next one goes on with what runs", extra=extra)
        last_words()
        os._exit(SUPERVISOR_LOST)

    with Signals(last_words) as signals:
        async with (
            open_server(settings, configuration.service, leave) as serving,
            manager.watched(settings.watchdog_seconds),
        ):
            life = _Life(configuration, load, serving, manager)
            life.tell_ready()
            while not await signals.next():
                await life.reload()
            await life.drain()
    _log.info("the node has ended", extra={"action": "node_ended"})


class _Life:
    """A node that serves, and what it goes by."""

    def __init__(self, configuration: Configuration, load: Load, serving: Serving, manager: Manager) -> None:
        self._configuration = configuration
        self._load = load
        self._server = serving.server
        self._neighbours = serving.node.neighbours
        self._manager = manager
        self._status = f"serves {', '.join(self._server.addresses)}"

    def tell_ready(self) -> None:
        addresses = list(self._server.addresses)
        _log.info("listens on %s", ", ".join(addresses), extra={"action": "node_serving", "addresses": addresses})
        self._manager.ready(self._status)

    async def reload(self) -> None:
        """Go on with what the configuration says now, or as before where that is refused."""
        self._manager.reloading()
        status = self._status
        try:
            self._take(await asyncio.to_thread(self._load))
        except RunnerError as error:
            for fault in error.faults if isinstance(error, ConfigurationError) else (error.message,):
                _log.error("%s", fault, extra={"action": "configuration_fault"})
            status = self._refused()
        except Exception:  # noqa: BLE001 (what serves must not end because of what it could not read)
            _log.exception("the configuration could not be read", extra={"action": "configuration_fault"})
            status = self._refused()
        self._manager.ready(status)

    def _refused(self) -> str:
        _log.error("nothing was reloaded; the node goes on as before", extra={"action": "reload_refused"})
        return f"{self._status}; the last reload was refused, its log says why"

    def _take(self, wanted: Configuration) -> None:
        """Raises RunnerError, and then nothing has changed."""
        _check_file(self._configuration.file)
        _warn(wanted)
        old, new = self._configuration, reloaded(self._configuration, wanted)
        self._server.reload(new.service)
        if self._neighbours is not None:
            self._neighbours.reload(new.service)
        logging.getLogger().setLevel(new.log_level.upper())
        self._configuration = new
        changed = _differences(old, new)
        # Also where nothing has: certificates and rules of it are read anew.
        extra: dict[str, object] = {"action": "reloaded", **({"changed": changed} if changed else {})}
        _log.info("the configuration was reloaded", extra=extra)
        if waiting := _differences(new, wanted):
            extra = {"action": "reload_incomplete", "keys": waiting}
            _log.warning("what has changed of %s waits for the next start", ", ".join(waiting), extra=extra)

    async def drain(self) -> None:
        seconds = self._configuration.service.drain_seconds
        _log.info(
            "the node takes nothing new and waits for what runs", extra={"action": "draining", "seconds": seconds}
        )
        self._manager.stopping("ends", seconds + CLOSING_SECONDS)
        await self._server.drain(seconds)


def _check_file(file: Path | None) -> None:
    """Raises UsageError where the file that was read before is gone: without its rules others could do more than was meant."""
    if file is not None and not file.exists():
        raise UsageError(
            f"{file}, which was read before, is not there any more: put it back, or restart the node to go on without it"
        )


def _warn(configuration: Configuration) -> None:
    for fault in configuration.warnings:
        _log.warning("%s", fault, extra={"action": "configuration_warning"})


def _differences(old: Configuration, new: Configuration) -> list[str]:
    """The names of the keys whose values differ."""
    return [name for name, value in old.values.items() if value.value != new.values[name].value]


class Signals:
    """Takes the signals of a service while it is entered: SIGHUP to reload; SIGTERM or SIGINT to end, twice to end at once."""

    def __init__(self, last_words: Callable[[], None]) -> None:
        self._last_words = last_words
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._ending = False
        self._taken: list[signal.Signals] = []

    def __enter__(self) -> Signals:
        self._take(signal.SIGHUP, self._heard.set)
        self._take(signal.SIGTERM, self._end)
        self._take(signal.SIGINT, self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._taken:
            self._loop.remove_signal_handler(number)

    async def next(self) -> bool:
        """Wait for a signal; whether it is one to end."""
        if not self._ending:
            await self._heard.wait()
            self._heard.clear()
        return self._ending

    def _take(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        # Whoever started this command with a signal ignored (nohup, a background job) wants it ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            self._loop.add_signal_handler(number, callback)
            self._taken.append(number)

    def _end(self) -> None:
        if self._ending:
            _log.warning("the node is left at once; the next one goes on with what runs", extra={"action": "left"})
            self._last_words()
            os._exit(LEFT_AT_ONCE)
        self._ending = True
        self._heard.set()
