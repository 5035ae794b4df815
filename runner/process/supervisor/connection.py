"""One runner's connection: messages and descriptors, sent without ever waiting for a slow reader."""

from __future__ import annotations

import array
import socket

from runner.process.supervisor import wire
from runner.process.supervisor.record import boot_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from typing import Any

MOST_FDS_AT_ONCE = 200  # the kernel takes 253 (SCM_MAX_FD)
FULL_BYTES = 256 << 10
LINGER_SECONDS = 0.002
READ_BYTES = 64 << 10  # more would be mapped and unmapped for each request


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._decoder = wire.Decoder()
        self._segments: list[tuple[bytes, tuple[int, ...]]] = []
        self._lingering: dict[object, tuple[int, dict[str, Any]]] = {}
        """By what they are about: messages that may still be completed, and which of the segments each is going to be."""
        self._rest = b""
        """What the kernel did not take yet; its descriptors are gone already."""
        self._unsent = 0
        self._urgent = False
        self._due: float | None = None
        self.greeted = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something was not sent that is not to wait."""
        return bool(self._rest or (self._segments and self._urgent))

    @property
    def due(self) -> float | None:
        """When what may wait is to be sent, in seconds of CLOCK_BOOTTIME; None when nothing waits."""
        return self._due

    @property
    def full(self) -> bool:
        """So much is unsent that no request should be read before the runner has caught up."""
        return self._unsent > FULL_BYTES

    def receive(self) -> list[dict[str, Any]] | None:
        """The requests that have arrived; None at the end of the connection. Raises OSError, wire.WireError."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        return self._decoder.feed(data) if data else None

    def send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Queue a message for the next `flush`; the descriptors must stay open until nothing is pending."""
        self._urgent = True
        data = wire.encode(message)
        self._segments.append((data, descriptors))
        self._unsent += len(data)

    def send_lingering(self, about: object, message: dict[str, Any]) -> None:
        """Queue a message that waits a moment for another that does not, or to be completed: that a process was started is
        mostly told together with its end, and the runner is woken once."""
        if about in self._lingering:
            self._end_lingering()
        if not self._segments:
            self._due = boot_seconds() + LINGER_SECONDS
        self._lingering[about] = (len(self._segments), message)
        self._segments.append((b"", ()))

    def complete(self, about: object, fields: dict[str, Any]) -> bool:
        """Set fields of the message about this that lingers, which then waits no more; False where there is none."""
        if about not in self._lingering:
            return False
        self._lingering[about][1].update(fields)
        self._urgent = True
        return True

    def _end_lingering(self) -> None:
        for at, message in self._lingering.values():
            data = wire.encode(message)
            self._segments[at] = (data, ())
            self._unsent += len(data)
        self._lingering.clear()

    def flush(self) -> None:
        """Hand the kernel what it takes. Raises OSError when the runner is gone."""
        if not self._urgent and self._due is not None and not self._rest and boot_seconds() < self._due:
            return
        self._urgent, self._due = True, None  # what the kernel does not take now does not linger again
        self._end_lingering()
        while self._rest or self._segments:
            data, descriptors = (self._rest, []) if self._rest else self._next_batch()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                sent = self._socket.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                if not self._rest:
                    self._segments.insert(0, (data, tuple(descriptors)))
                return
            self._unsent -= sent
            self._rest = data[sent:]
        self._urgent = False

    def _next_batch(self) -> tuple[bytes, list[int]]:
        descriptors: list[int] = []
        count = 0
        for _, wanted in self._segments:
            if len(descriptors) + len(wanted) > MOST_FDS_AT_ONCE:
                break
            descriptors += wanted
            count += 1
        data = b"".join(data for data, _ in self._segments[:count])
        del self._segments[:count]
        return data, descriptors

    def close(self) -> None:
        self._socket.close()
