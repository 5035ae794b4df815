"""What is taken of strangers, and how many requests are read at once: a request arrives whole, and takes memory before it can be
looked at."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager

from runner.errors import LimitError

READ_OF_ONE = 4
"""How many requests that one token, or one certificate, proves are read, or worked on if they are large, at once; others that it proves
wait. Those of methods with large ones have places of their own: a document on a slow line keeps nobody from cancelling."""
USUAL_SECONDS = 10.0
LARGE_SECONDS = 60.0
"""How long a request may take to arrive, once it has its place: of 40 MiB that is 700 KiB a second."""
READ_OF_STRANGERS = 64
STRANGERS_SECONDS = 10.0
"""How long a request of somebody who need not say who he is may take to arrive."""
WATCHES_OF_STRANGERS = 512
WATCHES_OF_ONE_ADDRESS = 32
RETRY_SECONDS = 5.0


class Intake:
    def __init__(self) -> None:
        self._strangers = asyncio.Semaphore(READ_OF_STRANGERS)
        self._reading: dict[Hashable, _Queue] = {}
        self._watches: Counter[str] = Counter()

    @asynccontextmanager
    async def caller(self, proof: Hashable, *, large: bool = False) -> AsyncIterator[None]:
        """A place for one request, which may be `large`, of somebody who has proved by this who he is; may wait until there is one. What
        is stolen, or was given to somebody who may do little, takes no place of what else proves the same name."""
        async with self._place(("large" if large else "usual", proof)):
            yield

    @asynccontextmanager
    async def stranger(self, peer: str) -> AsyncIterator[None]:
        """The same for somebody of whom nothing is known but where he is. Raises LimitError for what takes too long."""
        async with _within(STRANGERS_SECONDS), self._place(("address", address(peer))), self._strangers:
            yield

    @contextmanager
    def watch(self, peer: str) -> Iterator[None]:
        """A stream that goes on for somebody of whom nothing is known. Raises LimitError."""
        where = address(peer)
        for count, limit, whose in (
            (self._watches.total(), WATCHES_OF_STRANGERS, ""),
            (self._watches[where], WATCHES_OF_ONE_ADDRESS, " of one address"),
        ):
            if count >= limit:
                raise LimitError(
                    f"this runner serves {limit} watches of its health{whose} at once; end one of them, or ask with Check",
                    limit=limit,
                    retry_after=RETRY_SECONDS,
                )
        self._watches[where] += 1
        try:
            yield
        finally:
            self._watches[where] -= 1
            if not self._watches[where]:
                del self._watches[where]

    @asynccontextmanager
    async def _place(self, whose: Hashable) -> AsyncIterator[None]:
        queue = self._reading.setdefault(whose, _Queue())
        queue.length += 1
        try:
            async with queue.places:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._reading[whose]


@asynccontextmanager
async def arrival(*, large: bool) -> AsyncIterator[None]:
    """While a request of somebody who has a place arrives. Raises LimitError for one that takes too long."""
    async with _within(LARGE_SECONDS if large else USUAL_SECONDS):
        yield


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Raises LimitError for a request that takes longer to arrive."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise LimitError(f"the request did not arrive within {seconds:g} seconds", limit=int(seconds)) from None


class _Queue:
    """`length` counts those who have a place too."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(READ_OF_ONE)
        self.length = 0


def address(peer: str) -> str:
    """Where a peer is, as gRPC spells it (`ipv4:10.0.0.5:50312`, `ipv6:[fe80::1]:50312`), without its port; of IPv6 the network,
    for whoever has one address there has 2**64."""
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest.rpartition(":")[0]
    if kind == "ipv6":
        text = rest.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]").partition("%")[0]
        try:
            whole = ipaddress.IPv6Address(text)
        except ValueError:
            return rest
        return str(whole.ipv4_mapped or ipaddress.IPv6Network((whole, 64), strict=False))
    return kind
