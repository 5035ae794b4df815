"""Those who have connected and have not said hello yet. Nothing is taken from anybody for their sake: whoever only looks whether
somebody listens, or speaks another protocol, does not cost a runner its supervisor."""

from __future__ import annotations

import os
import select
import socket
import struct

from runner.process.supervisor import wire
from runner.process.supervisor.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from typing import Any

MOST = 32
"""The one that has waited longest goes when more come."""


class Strangers:
    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._connections: dict[int, Connection] = {}
        """By descriptor, in the order in which they came."""

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._connections

    def accept(self, listener: socket.socket) -> None:
        """One who has come; not if it is another user."""
        try:
            sock, _ = listener.accept()
        except OSError:  # gone again, or no descriptor free
            return
        if _uid(sock) != os.geteuid():
            sock.close()
            return
        if len(self._connections) >= MOST:
            self._part(next(iter(self._connections))).close()
        connection = Connection(sock)
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def heard(self, descriptor: int) -> tuple[Connection, list[dict[str, Any]]] | None:
        """One of them that has spoken, which is none of them from then on, and what it has said, nothing where that makes no sense;
        None where it has not spoken yet, or has gone."""
        try:
            requests = self._connections[descriptor].receive()
        except wire.WireError:
            return self._part(descriptor), []
        except OSError:
            requests = None
        if requests is None:
            self._part(descriptor).close()
        return (self._part(descriptor), requests) if requests else None

    def _part(self, descriptor: int) -> Connection:
        self._epoll.unregister(descriptor)
        return self._connections.pop(descriptor)


def _uid(sock: socket.socket) -> int:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    return int(struct.unpack("iII", credentials)[1])


def send_away(connection: Connection, reason: str, error: str) -> None:
    connection.send({"op": "refused", "reason": reason, "error": error})
    try:  # noqa: SIM105 - contextlib is slow to import
        connection.flush()
    except OSError:
        pass
    connection.close()
