"""The supervisor's loop: one connection to a runner at a time, its children, their deadlines.

Two modes. `private`: the runner is the parent and the only one who ever connects; when it is gone, everything is stopped.
`shared`: one per state directory (lock), listening on a socket there; it survives its runners and ends by itself when it
has been of no use for a while.
"""

from __future__ import annotations

import math
import os
import re
import select
import signal
import socket

from runner.process.supervisor import children, containment, strangers, subreaper, wire
from runner.process.supervisor.cgroups import UnavailableError
from runner.process.supervisor.connection import Connection
from runner.process.supervisor.output import Outputs
from runner.process.supervisor.record import Record, boot_seconds
from runner.process.supervisor.table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from typing import Any

LAST_GRACE_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 10.0  # epoll's clock stands still while the machine sleeps; deadlines do not
_INCARNATION = re.compile("[0-9a-f]{32}")


class RefusedError(Exception):
    """The connection cannot be served; `reason` is for the other side's code, the text for its people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Server:
    def __init__(
        self,
        first: socket.socket | None,
        *,
        private: bool,
        incarnation: str = "",
        idle_seconds: float = math.inf,
        wanted: str = "auto",
    ) -> None:
        """`incarnation` in place of one that is made up. `wanted` is the containment: `auto`, `cgroup2` or `marker`.

        Raises RefusedError where that cannot be.
        """
        self._private = private
        self._idle_seconds = idle_seconds
        self._wanted = wanted
        self._epoch = 0
        self._named = bool(incarnation)
        """Whether a runner has said what this life is called."""
        self._discarded: list[int] = []
        self._ending = False
        self._idle_since: float | None = None
        self._adopts = False
        self._listener: socket.socket | None = None
        self._lock: int | None = None
        self._connection: Connection | None = None
        self._parent: Connection | None = None
        self._interest = 0
        self._epoll = select.epoll()
        self._strangers = strangers.Strangers(self._epoll)
        self._outputs = Outputs(self._epoll, self._send, self._discard)
        self._table = self._opened(incarnation or os.urandom(16).hex())
        self._wake = _signal_pipe()
        self._epoll.register(self._wake, select.EPOLLIN)
        if first is not None:
            self._connect(Connection(first))

    def _opened(self, incarnation: str) -> Table:
        """The table of a life that has this name. Raises RefusedError."""
        self._incarnation = incarnation
        try:
            room, self._contains = containment.choose(self._wanted, incarnation)
        except UnavailableError as error:
            raise RefusedError("cannot_serve", f"there can be no containment by control groups: {error}") from None
        return Table(incarnation, self._on_exit, self._outputs, room=room)

    def listen(self, listener: socket.socket, lock: int) -> None:
        """Be found at `listener` while the file behind `lock` exists."""
        listener.setblocking(False)
        self._listener = listener
        self._lock = lock
        self._epoll.register(listener, select.EPOLLIN)

    def run(self) -> None:
        """Serve until there is nothing left to serve for."""
        while not self._over():
            ready = self._epoll.poll(self._patience())
            self._outputs.on_events(ready)  # first: what follows may close pipes, and use their numbers again
            for descriptor, _ in ready:
                if descriptor == self._wake:
                    self._on_signals()
                elif self._listener is not None and descriptor == self._listener.fileno():
                    self._strangers.accept(self._listener)
                elif self._connection is not None and descriptor == self._connection.fileno():
                    self._on_connection()
                elif descriptor in self._strangers:
                    self._on_stranger(descriptor)
            self._table.run_due()
            self._flush()
        self._table.close()

    def _over(self) -> bool:
        if self._connection is None and self._lock is not None and os.fstat(self._lock).st_nlink == 0:
            self._end()  # with the state directory gone nobody can ever find us again
        if self._ending:
            return not self._table.running
        if self._private or self._connection is not None or len(self._table) or self._table.running:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = boot_seconds()
        return boot_seconds() - self._idle_since >= self._idle_seconds

    def _patience(self) -> float:
        dues = [self._table.next_due()]
        if self._idle_since is not None:
            dues.append(self._idle_since + self._idle_seconds)
        if self._connection is not None:
            dues.append(self._connection.due)
        first = min((due for due in dues if due is not None), default=math.inf)
        return max(0.0, min(first - boot_seconds(), LONGEST_WAIT_SECONDS))

    def _on_signals(self) -> None:
        numbers = os.read(self._wake, 4096)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._end()
        self._table.reap()

    def _end(self) -> None:
        """Stop everything, then leave."""
        self._ending = True
        self._table.stop_all(LAST_GRACE_SECONDS)

    # --- the connection ---

    def _on_stranger(self, descriptor: int) -> None:
        """It becomes the one that is served with its hello, and not before."""
        heard = self._strangers.heard(descriptor)
        if heard is None:
            return
        connection, requests = heard
        try:
            _check_hello(requests[0] if requests else {})
        except RefusedError as refusal:
            strangers.send_away(connection, refusal.reason, str(refusal))
            return
        if self._connection is not None:
            self._refuse(RefusedError("superseded", "another runner has connected to this supervisor"))
        self._connect(connection)
        self._serve_all(connection, requests)

    def _connect(self, connection: Connection) -> None:
        self._connection = connection
        self._epoch += 1
        self._table.unwatch()
        self._interest = select.EPOLLIN
        self._epoll.register(connection.fileno(), self._interest)

    def _on_connection(self) -> None:
        connection = self._connection
        assert connection is not None
        if connection.full:
            return
        try:
            requests = connection.receive()
        except wire.WireError as error:
            self._refuse(RefusedError("bad_request", str(error)))
        except OSError:
            self._disconnect()
        else:
            if requests is None:
                self._disconnect()
            else:
                self._serve_all(connection, requests)

    def _serve_all(self, connection: Connection, requests: list[dict[str, Any]]) -> None:
        try:
            for request in requests:
                self._serve(connection, request)
        except RefusedError as refusal:
            self._refuse(refusal)
        except OSError:
            self._disconnect()

    def _refuse(self, refusal: RefusedError) -> None:
        if self._connection is not None:
            self._connection.send({"op": "refused", "reason": refusal.reason, "error": str(refusal)})
            self._flush()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is None:
            return
        self._epoll.unregister(self._connection.fileno())
        if self._private:
            self._parent = self._connection  # left open: its end tells a runner that still reads that all is over
        else:
            self._connection.close()
        self._connection = None
        self._flush()
        if self._private:
            self._end()
        else:
            self._table.stop_tied(LAST_GRACE_SECONDS)

    def _flush(self) -> None:
        connection = self._connection
        if connection is not None:
            try:
                connection.flush()
            except OSError:
                self._disconnect()
                return
            interest = 0 if connection.full else select.EPOLLIN
            if connection.pending:
                interest |= select.EPOLLOUT
            if interest != self._interest:
                self._interest = interest
                self._epoll.modify(connection.fileno(), interest)
        if self._discarded and (connection is None or not connection.pending):
            for descriptor in self._discarded:
                os.close(descriptor)
            self._discarded.clear()

    def _discard(self, descriptor: int) -> None:
        self._discarded.append(descriptor)

    def _send(self, message: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        if self._connection is not None:
            self._connection.send(message, descriptors)

    def _on_exit(self, record: Record) -> None:
        ends = self._outputs.look(record)
        connection = self._connection
        if connection is None or not record.watched:
            return
        fields = {"exit": record.exit, "ends": ends}
        # Of one that has written something the start is told first, then what it wrote, then its end.
        if any(end != 0 for end in ends) or not connection.complete(record, fields):
            connection.send({"op": "exit", "key": record.key, **fields})

    # --- requests ---

    def _serve(self, connection: Connection, request: dict[str, Any]) -> None:
        id = request.get("id")
        operation = request.get("op")
        if operation == "hello" or not connection.greeted:
            _check_hello(request)
            self._hello(connection, id, request.get("incarnation"))
            return
        try:
            if operation == "spawn":
                self._spawn(connection, id, request)
            elif operation == "attach":
                self._attach(connection, id, self._table.get(request["key"]))
            elif operation == "forget":
                self._forget(connection, id, request["key"])
            elif operation == "consume":
                self._consume(request)
            elif operation == "synchronise":
                connection.send({"id": id})
            elif operation == "list":
                connection.send({"id": id, "keys": self._table.keys()})
            elif operation in ("signal", "stop"):
                record = self._table.get(request["key"])
                if record is not None and operation == "stop":
                    self._table.stop(record, float(request["grace"]))
                elif record is not None:
                    self._table.signal(record, request["signal"])
                connection.send({"id": id})
            else:
                raise RefusedError("bad_request", f"unknown operation {operation!r}")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RefusedError("bad_request", f"a {operation} request is malformed: {error!r}") from None

    def _hello(self, connection: Connection, id: Any, incarnation: str | None) -> None:
        connection.greeted = True
        if incarnation and not self._named and not len(self._table):
            # The first runner of a supervisor that was started by itself has written attempts down under this name already.
            self._table.close()
            self._table = self._opened(incarnation)
        self._named = True
        connection.send(
            {
                "id": id,
                "protocol": wire.PROTOCOL,
                "incarnation": self._incarnation,
                "epoch": self._epoch,
                "pid": os.getpid(),
                "boot_id": _boot_id(),
                "containment": self._contains,
            }
        )
        if not self._adopts:
            connection.flush()  # the runner can go on meanwhile
            if not subreaper.become(private=self._private):
                self._table.adopts_nothing()
            self._adopts = True
        else:
            self._table.tidy()  # a former runner may have been killed before it had ended what others have left

    def _spawn(self, connection: Connection, id: Any, request: dict[str, Any]) -> None:
        key = str(request["key"])
        record = self._table.get(key)
        if record is not None:
            self._attach(connection, id, record)
        else:
            timeout = None if request["timeout"] is None else float(request["timeout"])
            try:
                program = children.asked(request)
                if self._ending:
                    raise children.CannotStartError(children.COULD_NOT_START, "the supervisor is being stopped")
                record = self._table.spawn(key, program, timeout, float(request["grace"]))
            except children.CannotStartError as problem:
                connection.send({"id": id, "code": problem.code, "error": problem.message})
                return
            self._answer(connection, id, record)
            for descriptor in record.handed:
                connection.send({"op": "terminal", "key": key, "fd": True}, (descriptor,))
                self._discard(descriptor)  # once it is sent: whoever has it alone can hang up
            record.handed = ()

    def _attach(self, connection: Connection, id: Any, record: Record | None) -> None:
        if record is None:
            connection.send({"id": id})
        else:
            self._answer(connection, id, record)
            self._outputs.watch(record)

    def _answer(self, connection: Connection, id: Any, record: Record) -> None:
        record.watched = True
        pipes = {"ends": [pipe.end for pipe in record.pipes], "begins": [pipe.consumed for pipe in record.pipes]}
        answer = {"id": id, "pid": record.pid, "started_at": record.started_at, "exit": record.exit, **pipes}
        connection.send_lingering(record, answer)

    def _consume(self, request: dict[str, Any]) -> None:
        record = self._table.get(request["key"])
        if record is not None:
            index, position = int(request["stream"]), int(request["position"])
            self._outputs.consume(record, index, position, taken=bool(request["taken"]))

    def _forget(self, connection: Connection, id: Any, key: str) -> None:
        def gone() -> None:
            if id is not None and connection is self._connection:
                connection.send({"id": id})

        record = self._table.get(key)
        if record is None:
            gone()
        else:
            self._table.forget(record, gone)


def _check_hello(request: dict[str, Any]) -> None:
    """Raises RefusedError."""
    if request.get("op") != "hello":
        raise RefusedError("bad_request", "the first message must be a hello")
    if request.get("protocol") != wire.PROTOCOL:
        message = f"this supervisor speaks protocol {wire.PROTOCOL}, the runner speaks {request.get('protocol')}"
        raise RefusedError("protocol", message)
    incarnation = request.get("incarnation") or ""
    if not isinstance(incarnation, str) or (incarnation and not _INCARNATION.fullmatch(incarnation)):
        raise RefusedError("bad_request", "an incarnation has 32 digits of 0-9a-f")


def _signal_pipe() -> int:
    """A descriptor on which the numbers of arriving signals can be read."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # the terminal's, meant for the runner
        signal.signal(number, signal.SIG_IGN)
    return reader


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
