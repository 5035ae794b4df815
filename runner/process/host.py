"""`SupervisorHost`: the process host that lives in a process of its own, and outlives the runner if so wanted."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from drivers.base import ProcessSpec, ProcessStarted
from runner.errors import ProcessHostError, StartError
from runner.model.log import LogSink
from runner.model.shell import Size
from runner.process import launch, remains
from runner.process.channel import Channel, EndedError, RefusedError, TooLongError
from runner.process.output import Output, OutputQueue, best_reader
from runner.process.supervised import SupervisedProcess, process_exit, surroundings
from runner.process.supervisor import wire
from runner.process.terminal import Handing, Nowhere, Terminal
from runner.process.vigil import Vigil

_log = logging.getLogger(__name__)
DEFAULT_IDLE_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_CONNECT_SECONDS = 10.0
_END_SECONDS = 10.0
_FIRST_LOOK_SECONDS = 0.001
_FIRST_RETRY_SECONDS = 0.01
_LONGEST_RETRY_SECONDS = 0.5


class SupervisorHost:
    """Implements drivers.base.ProcessHost on one asyncio loop. Made by `connect` or `start_private`; also a context manager."""

    make_reader = staticmethod(best_reader)
    """How the pipes of processes are read, found out with the first output."""

    def __init__(self, connection: socket.socket, *, pid: int = 0, private: bool = False) -> None:
        """For the class methods alone: nobody has said hello yet. `pid` is the supervisor's, 0 where only its hello tells."""
        self.private = private
        """Whether it ends with this connection."""
        self._closed = False
        self._incarnation = ""
        self._epoch = 0
        self._pid = pid
        self._vigil = Vigil(pid) if pid else None
        self._containment = ""
        self._processes: dict[str, SupervisedProcess] = {}
        self._handings: dict[str, Handing] = {}
        self._outputs = OutputQueue(self.make_reader)
        self._lost: list[Callable[[ProcessHostError], None]] = []
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel = Channel(connection, self._on_notice, self._on_lost)

    @classmethod
    async def connect(
        cls,
        state_dir: Path | str,
        *,
        idle_seconds: float = DEFAULT_IDLE_SECONDS,
        incarnation: str = "",
        containment: launch.Containment = "auto",
    ) -> Self:
        """Connect to the supervisor of a state directory; start it if there is none. It goes on without us, and ends by
        itself after `idle_seconds` in which it had no runner, no process and no record. One that has to be
        started takes `incarnation`, if given, and `containment`; one that was started by itself and never had a runner takes
        `incarnation`. Raises ProcessHostError."""
        arguments = (os.path.abspath(state_dir), incarnation, str(idle_seconds))
        loop = asyncio.get_running_loop()
        until = loop.time() + _CONNECT_SECONDS
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                return await cls._connect_once(state_dir, incarnation, arguments, containment)
            except _BusyError as busy:
                if loop.time() >= until:
                    raise ProcessHostError(f"cannot connect to the supervisor of {state_dir}: {busy}") from busy
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    @classmethod
    async def _connect_once(
        cls, state_dir: Path | str, incarnation: str, arguments: Sequence[str], containment: launch.Containment
    ) -> Self:
        dialed = _dial(state_dir)
        if dialed is not None:
            connection, pid = dialed
            try:
                return await cls(connection, pid=pid)._greeted(incarnation)
            except EndedError as error:
                raise _BusyError("it was just ending") from error
        launched = launch.start("shared", state_dir, *arguments, containment=containment)
        try:
            return await cls(launched.connection)._greeted()
        except RefusedError as refusal:
            if refusal.reason == "locked":
                raise _BusyError("it was just beginning or just ending") from refusal
            raise
        finally:
            await _ends(launched.pid)

    @classmethod
    async def start_private(
        cls,
        state_dir: Path | str,
        temp: Path | str | None = None,
        *,
        incarnation: str = "",
        containment: launch.Containment = "auto",
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Self:
        """Start a supervisor that is ours alone and ends, with all its processes, when we do; the last thing it does is to
        remove the folder `temp`. Its code is kept in `state_dir`. `meanwhile` is called while it starts. Raises
        ProcessHostError."""
        arguments = (os.path.abspath(temp) if temp else "", incarnation)
        launched = launch.start("private", state_dir, *arguments, containment=containment)
        host = cls(launched.connection, pid=launched.pid, private=True)
        try:
            meanwhile()
            return await host._greeted()
        except BaseException:
            await host.aclose()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect. A private supervisor ends its processes first (politely for two seconds); one that does not come to an end is
        killed, and what it has left is ended here. May be repeated."""
        if self._closed or not self.private:
            self._channel.close()
            await asyncio.shield(self._gone)
            return
        self._closed = True
        self._channel.end_sending()
        await asyncio.wait([self._gone], timeout=_END_SECONDS)
        self._channel.close()
        await asyncio.shield(self._gone)
        if not await _ends(self._pid):
            extra = {"action": "supervisor_killed", "pid": self._pid}
            _log.error("the supervisor did not end and was killed", extra=extra)
            await asyncio.to_thread(remains.end, self._incarnation)

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def epoch(self) -> int:
        """How many connections the supervisor has had, this one included."""
        return self._epoch

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._pid

    @property
    def ended(self) -> bool:
        """Whether the supervisor is known to be dead. Whoever waited for an answer may know it before `on_lost` is called."""
        return self._channel.ended

    @property
    def containment(self) -> str:
        """`cgroup2`, or `marker: ` and why it is that."""
        return self._containment

    def on_lost(self, callback: Callable[[ProcessHostError], None]) -> None:
        """`callback` is called once when the connection is over, whoever ended it, with why; before anybody who waits for
        something of the supervisor hears of it."""
        self._lost.append(callback)

    async def spawn(self, key: str, spec: ProcessSpec, sink: LogSink) -> SupervisedProcess:
        return await self._spawned(key, spec, sink, {})

    async def converse(self, key: str, spec: ProcessSpec, size: Size | None) -> Terminal:
        """Start a process with a terminal of this size, or with pipes; its key is to be a new one. It ends with this connection,
        and what it writes is kept nowhere. Raises as `spawn`."""
        handing = self._handings[key] = Handing(1 if size else 3)
        try:
            process = await self._spawned(key, spec, Nowhere(), {"terminal": list(size or ())})
            return Terminal(key, process, await handing.all(), self)
        except BaseException as error:
            handing.close()
            if not isinstance(error, StartError | ProcessHostError):
                with suppress(ProcessHostError):  # it may have been started
                    self._channel.send({"op": "forget", "id": None, "key": key})
                self._processes.pop(key, None)
            raise
        finally:
            del self._handings[key]

    async def _spawned(self, key: str, spec: ProcessSpec, sink: LogSink, more: dict[str, Any]) -> SupervisedProcess:
        message = {
            "op": "spawn",
            "key": key,
            "argv": list(spec.argv),
            "env": dict(spec.env),
            "cwd": spec.cwd,
            "timeout": spec.timeout,
            "grace": spec.grace,
            **surroundings(spec),
            **more,
        }

        def receive(reply: dict[str, Any]) -> SupervisedProcess:
            if "code" in reply:
                raise StartError(reply["error"], exit_code=reply["code"])
            return self._adopt(key, sink, reply)

        try:
            return await self._channel.request(message, receive)
        except TooLongError:
            message_text = "the arguments, the environment and stdin are too long; pass large values in files"
            raise StartError(message_text, exit_code=125) from None

    async def attach(self, key: str, sink: LogSink) -> SupervisedProcess | None:
        def receive(reply: dict[str, Any]) -> SupervisedProcess | None:
            return self._adopt(key, sink, reply) if "pid" in reply else None

        return await self._channel.request({"op": "attach", "key": key}, receive)

    async def signal(self, key: str, signal: Literal["pause", "start", "destroy"]) -> None:
        await self._channel.request({"op": "signal", "key": key, "signal": signal}, _done)

    async def stop(self, key: str, grace: float) -> None:
        await self._channel.request({"op": "stop", "key": key, "grace": grace}, _done)

    async def forget(self, key: str) -> None:
        process = self._processes.get(key)
        if process is not None and process.exited:
            self._channel.send({"op": "forget", "id": None, "key": key})
        else:
            await self._channel.request({"op": "forget", "key": key}, _done)
        process = self._processes.pop(key, None)
        if process is not None:
            process.release()

    async def list(self) -> Sequence[str]:
        return await self._channel.request({"op": "list"}, lambda reply: tuple(reply["keys"]))

    async def end_former(self, incarnation: str) -> Mapping[str, Any] | None:
        if incarnation == self._incarnation and not self.ended:
            return None
        return await asyncio.to_thread(remains.end, incarnation)

    async def _greeted(self, incarnation: str = "") -> Self:
        """This host, once the supervisor has answered; one that was never greeted before takes this incarnation, if given. Raises
        ProcessHostError."""
        hello = {"op": "hello", "protocol": wire.PROTOCOL, "incarnation": incarnation}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reply = await self._channel.request(hello, lambda reply: reply)
        except TimeoutError:
            self._channel.close()
            raise ProcessHostError(f"the supervisor does not answer within {_ANSWER_SECONDS:g} s") from None
        self._incarnation = reply["incarnation"]
        self._epoch = reply["epoch"]
        if self._vigil is None:  # its own word, for it is a descendant of ours: no other namespace numbers it
            self._pid = reply["pid"]
            self._vigil = Vigil(self._pid)
        self._containment = reply.get("containment", "marker")
        _log.debug("containment: %s", self._containment, extra={"action": "supervisor_ready", "pid": self._pid})
        return self

    def _adopt(self, key: str, sink: LogSink, reply: dict[str, Any]) -> SupervisedProcess:
        process = self._processes.get(key)
        if process is not None:
            process.redirect(sink)
        else:
            started = ProcessStarted(pid=reply["pid"], started_at=reply["started_at"])
            process = self._processes[key] = SupervisedProcess(key, started, sink, self._outputs, self)
            for index, position in enumerate(reply.get("begins", ())):  # which an older supervisor does not tell
                if position:
                    process.begin(index, position)
        # Who asks at the moment of the end is told of it with the answer, and not once more.
        if reply["exit"] is not None and not process.exited:
            process.end(process_exit(reply["exit"]), reply["ends"])
        return process

    def consume(self, key: str, output: Output, taken: bool) -> None:
        """For the processes of this host alone, as `synchronise`: see `supervised.Supervisor`."""
        where = {"key": key, "stream": output.index, "position": output.position}
        with suppress(ProcessHostError):  # who waits for the process hears of it
            self._channel.send({"op": "consume", "id": None, **where, "taken": taken})

    def synchronise(self, done: Callable[[], None]) -> None:
        with suppress(ProcessHostError):
            # Nobody waits for the reply: the end of the supervisor is told to every process anyway.
            self._channel.request({"op": "synchronise"}, lambda _: done()).add_done_callback(_looked_at)

    def _on_notice(self, message: dict[str, Any], descriptor: int | None) -> None:
        key = message["key"]
        process = self._processes.get(key)
        if process is None:  # forgotten meanwhile
            if descriptor is not None:
                os.close(descriptor)
        elif message["op"] == "terminal" and descriptor is not None:
            if key in self._handings:
                self._handings[key].take(descriptor)
            else:
                os.close(descriptor)
        elif message["op"] == "output":
            process.written(message["stream"], message["at"], descriptor)
        elif message["op"] == "pipe" and descriptor is not None:
            process.hold(message["stream"], message["at"], descriptor)
        elif message["op"] == "exit":
            process.end(process_exit(message["exit"]), message["ends"])
        elif message["op"] == "ended":
            process.end_of(message["stream"], message["end"])

    def _on_lost(self, error: ProcessHostError) -> None:
        for callback in self._lost:
            callback(error)
        if self._vigil is not None:
            self._vigil.close()
        for process in self._processes.values():
            process.lose(error)
        for handing in self._handings.values():
            handing.lose(error)
        self._outputs.close()
        self._gone.set_result(None)


class _BusyError(ProcessHostError):
    """The state directory has a supervisor that cannot be spoken to at this moment."""


def _looked_at(answer: asyncio.Future[None]) -> None:
    """Else the loop complains of an error that nobody has seen."""
    if not answer.cancelled():
        answer.exception()


def _done(reply: dict[str, Any]) -> None:
    return None


def _dial(state_dir: Path | str) -> tuple[socket.socket, int] | None:
    """A connection to the supervisor of a state directory, and its number here, 0 where it has none; None when there is no
    supervisor. Raises ProcessHostError."""
    try:
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProcessHostError(f"cannot use the state directory {state_dir}: {error.strerror}") from error
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        # Through the descriptor: a socket's path may have 108 bytes at most.
        connection.connect(f"/proc/self/fd/{folder}/{wire.SOCKET_NAME}")
        pid, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BlockingIOError:
        connection.close()
        raise _BusyError("its queue of connections is full") from None
    except OSError as error:
        connection.close()
        raise ProcessHostError(f"cannot connect to the supervisor of {state_dir}: {error.strerror}") from error
    finally:
        os.close(folder)
    if uid != os.geteuid():
        connection.close()
        raise ProcessHostError(f"the supervisor of {state_dir} belongs to another user ({uid})")
    return connection, pid


async def _ends(pid: int) -> bool:
    """Wait for a child that is about to end; one that does not is killed. Whether it ended by itself."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _END_SECONDS
    pause = _FIRST_LOOK_SECONDS
    while os.waitpid(pid, os.WNOHANG)[0] == 0:  # noqa: ASYNC222 - it does not block
        if loop.time() >= until:
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _FIRST_RETRY_SECONDS)
    return loop.time() < until
