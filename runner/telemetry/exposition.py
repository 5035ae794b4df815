"""Answers `GET /metrics`, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from runner.config import address
from runner.errors import UsageError

PATIENCE_SECONDS = 10.0
LARGEST_HEAD_BYTES = 16 << 10
MOST_AT_ONCE = 16

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def serving(listen: Sequence[str], text: Callable[[], bytes]) -> AsyncIterator[Sequence[str]]:
    """While it is entered; the addresses, with the ports that were given. Raises UsageError for one that it cannot have."""
    exposition = _Exposition(text)
    async with AsyncExitStack() as stack:
        yield [await _listening(stack, address.parse(each), exposition) for each in listen]


async def _listening(stack: AsyncExitStack, wanted: address.Address, exposition: _Exposition) -> str:
    try:
        if wanted.path is not None:
            with suppress(FileNotFoundError):
                os.unlink(wanted.path)
            server = await asyncio.start_unix_server(exposition.answer, wanted.path, limit=LARGEST_HEAD_BYTES)
            stack.callback(_removed, str(wanted.path))
        else:
            server = await asyncio.start_server(exposition.answer, wanted.host, wanted.port, limit=LARGEST_HEAD_BYTES)
    except OSError as error:
        raise UsageError(
            f"metrics.listen: {wanted} cannot be listened on: {error.strerror or error}; give another address"
        ) from error
    stack.callback(server.close)
    port = wanted.port if wanted.path is not None else server.sockets[0].getsockname()[1]
    return str(address.Address(host=wanted.host, port=port, path=wanted.path))


def _removed(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


class _Exposition:
    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        self._busy = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._busy += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0]))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so, or does not read, gets nothing
        finally:
            self._busy -= 1
            writer.transport.abort()

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if self._busy > MOST_AT_ONCE:
            return _response("503 Service Unavailable", b"too many ask at once\n")
        if path != b"/metrics":
            return _response("404 Not Found", b"there is /metrics, and nothing else\n")
        if method != b"GET":
            return _response("405 Method Not Allowed", b"there is GET, and nothing else\n")
        return _response("200 OK", self._text(), _TEXT)


def _response(status: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
