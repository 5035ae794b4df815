"""One HTTP request that holds nobody up: resolving, connecting, TLS and the answer all end when the caller's patience does."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

LARGEST_HEAD_BYTES = 64 << 10
MOST_INTERIM_ANSWERS = 5

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")


class PostError(Exception):
    """There was no answer, or none of HTTP."""


class Poster:
    """Names are resolved by threads of its own: one that does not come back keeps nobody else waiting."""

    def __init__(self) -> None:
        self._resolvers = ThreadPoolExecutor(2, "webhook-resolver")

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext | None) -> int:
        """The status of the answer, whose content nobody reads; redirects are not followed. `tls` is for https. Raises PostError.
        To be called within a timeout."""
        try:
            reader, writer = await self._connected(url, tls)
            try:
                writer.write(_request(url, headers, body))
                return await _status(reader)
            finally:
                writer.transport.abort()
        except ssl.SSLCertVerificationError as error:
            raise PostError(f"its certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise PostError(f"TLS has failed: {error.reason}") from error
        except OSError as error:
            raise PostError(error.strerror or str(error)) from error

    async def _connected(
        self, url: str, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        failure: OSError = OSError(f"{host} has no address")
        for address in await self._addresses(host, port):
            try:
                return await asyncio.open_connection(
                    address,
                    port,
                    ssl=tls if secure else None,
                    server_hostname=host if secure else None,
                    limit=LARGEST_HEAD_BYTES,
                )
            except OSError as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        def resolved() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(address[0]) for *_, address in found))

        return await asyncio.get_running_loop().run_in_executor(self._resolvers, resolved)


def _request(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"host: {parts.netloc}",
        f"content-length: {len(body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _status(reader: asyncio.StreamReader) -> int:
    try:
        for _ in range(MOST_INTERIM_ANSWERS):
            head = await reader.readuntil(b"\r\n\r\n")
            found = _STATUS.match(head)
            if found is None:
                raise PostError("it does not answer in HTTP")
            if (status := int(found[1])) >= 200:
                return status
    except asyncio.IncompleteReadError as error:
        raise PostError("it has closed the connection without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise PostError("the head of its answer has no end") from error
    raise PostError("its answer does not come to an end")
