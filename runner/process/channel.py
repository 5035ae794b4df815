"""The runner's end of the connection to its supervisor: requests, replies, notices, descriptors."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from runner.errors import ProcessHostError
from runner.process.supervisor import wire

_READ_BYTES = 64 << 10  # more would be mapped and unmapped for each message
_MOST_FDS_AT_ONCE = 253  # SCM_MAX_FD

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

T = TypeVar("T")

Receive = Callable[[dict[str, Any]], T]
"""Makes a result of a reply. May raise."""

Notice = Callable[[dict[str, Any], int | None], None]
"""Takes a notice, and over the descriptor that came with it."""


class RefusedError(ProcessHostError):
    """The supervisor refused the connection."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        """Of `superseded`, `locked`, `protocol`, `bad_request`, `cannot_serve`."""


ENDED = "the supervisor that kept its processes ended, and they were ended with it"


class EndedError(ProcessHostError):
    """The supervisor ended."""


class TooLongError(ProcessHostError):
    """The request is too long for the supervisor."""


class _Pending(NamedTuple):
    future: asyncio.Future[Any]
    receive: Receive[Any]


class Channel:
    """One connection on one asyncio loop. What is sent in one turn of the loop leaves in one call."""

    def __init__(
        self,
        sock: socket.socket,
        on_notice: Notice,
        on_lost: Callable[[ProcessHostError], None],
    ) -> None:
        """`on_lost` is called once, after the last message and not from within a method of this class, and before those who
        wait for replies hear that none will come."""
        sock.setblocking(False)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._on_notice = on_notice
        self._on_lost = on_lost
        self._decoder = wire.Decoder(_from_json)
        self._pending: dict[int, _Pending] = {}
        self._descriptors: deque[int] = deque()
        self._out: list[bytes] = []
        self._writing = False
        self._serial = 0
        self._refusal: ProcessHostError | None = None
        self._lost: ProcessHostError | None = None
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def request(self, message: dict[str, Any], receive: Receive[T]) -> asyncio.Future[T]:
        """Send a request. Raises ProcessHostError, as does the future.

        `receive` is called as the reply arrives, before any later message is looked at, and also when nobody waits any
        more.
        """
        self._serial += 1
        message["id"] = self._serial
        self.send(message)
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending[self._serial] = _Pending(future, receive)
        return future

    def send(self, message: dict[str, Any]) -> None:
        """Send a message that has no reply. Raises ProcessHostError."""
        if self._lost is not None:
            raise self._lost
        data = _encoded(message)
        if len(data) > wire.LONGEST_MESSAGE_BYTES:
            raise TooLongError
        if not self._out and not self._writing:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def end_sending(self) -> None:
        """Say good-bye; what still arrives is read. May be repeated."""
        if self._lost is None:
            self._flush()
            self._socket.shutdown(socket.SHUT_WR)

    @property
    def ended(self) -> bool:
        """The other side is gone."""
        return isinstance(self._lost, EndedError)

    def close(self, reason: str = "the connection to the supervisor was closed") -> None:
        """End the connection, once all that was sent is on its way; `on_lost` follows. May be repeated."""
        self._flush()
        self._lose(ProcessHostError(reason))

    def _flush(self) -> None:
        if self._lost is not None or not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        try:
            sent = self._socket.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the other side is gone: its last words are still to be read, then the end
        if sent < len(data):
            self._out.append(data[sent:])
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._socket.fileno(), self._flush)
        elif self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                _READ_BYTES, socket.CMSG_SPACE(_MOST_FDS_AT_ONCE * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:  # reset: it ended with something of ours unread
            self._lose(self._refusal or EndedError(ENDED))
            return
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self._descriptors.extend(received)
        if flags & socket.MSG_CTRUNC:
            # Which descriptors are missing cannot be known, so no later one can be trusted either.
            self._lose(ProcessHostError("the runner has too many open files to take part in its tasks' output"))
            return
        if not data:
            self._lose(self._refusal or EndedError(ENDED))
            return
        try:
            for message in self._decoder.feed(data):
                self._on_message(message)
        except wire.WireError as error:
            self._lose(ProcessHostError(f"the supervisor sent something unintelligible: {error}"))

    def _on_message(self, message: dict[str, Any]) -> None:
        id = message.get("id")
        if id is not None:
            self._settle(self._pending.pop(id), message)
        elif message["op"] == "refused":
            self._refusal = RefusedError(message["error"], reason=message["reason"])
        else:
            self._on_notice(message, self._descriptors.popleft() if "fd" in message else None)

    def _settle(self, pending: _Pending, message: dict[str, Any]) -> None:
        future = pending.future
        try:
            result = pending.receive(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to whoever awaits the future
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    def _lose(self, error: ProcessHostError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        self._loop.call_soon(self._on_lost, error)
        self._loop.remove_reader(self._socket.fileno())
        if self._writing:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(error)
        self._pending.clear()


def _encoded(message: dict[str, Any]) -> bytes:
    try:
        return wire.framed(_encode(message))
    except UnicodeEncodeError:  # bytes of an environment that are no text: escaped, as the other side reads them
        return wire.encode(message)


def _from_json(body: bytes) -> Any:
    try:
        return _decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
