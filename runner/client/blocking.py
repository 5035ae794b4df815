"""The client for everybody else: `AsyncClient` on a loop in a thread of its own, with the same methods."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from runner.client.aio import AsyncClient, Waiting
from runner.client.patience import Patience
from runner.model.endpoint import Endpoint

P = ParamSpec("P")
T = TypeVar("T")

_END: Any = object()


class _Loop:
    """An asyncio loop in a thread, from its first use until it is stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result. Whoever is interrupted while he waits (Ctrl-C) leaves nothing under way."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._begun())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def is_running(self) -> bool:
        return self._loop is not None

    def stop(self) -> None:
        """May be repeated."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if self._thread is not threading.current_thread():  # the collector runs in any
                self._thread.join()

    def _begun(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="runner-client", daemon=True)
                self._thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _waits(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._client, *args, **kwargs))

    return call


def _iterates(
    method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    async def following(pieces: AsyncIterator[T]) -> T:
        return await anext(pieces, _END)

    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        pieces: Any = method(self._client, *args, **kwargs)
        try:
            while (piece := self._loop.run(following(pieces))) is not _END:
                yield piece
        finally:
            if self._loop.is_running:  # else it was closed, with all that was under way
                self._loop.run(pieces.aclose())

    return call


class Client:
    """A node, asked from any thread; a method returns when it is done. What each does is told by `AsyncClient`."""

    def __init__(
        self,
        endpoint: Endpoint | str,
        *,
        patience: Patience = Patience(),  # noqa: B008 - it is frozen
        on_wait: Waiting | None = None,
    ) -> None:
        """As `AsyncClient`; `on_wait` is called in another thread."""
        self._loop = _Loop()
        self._client = AsyncClient(endpoint, patience=patience, on_wait=on_wait)
        weakref.finalize(self, self._loop.stop)

    submit = _waits(AsyncClient.submit)
    rerun = _waits(AsyncClient.rerun)
    validate = _waits(AsyncClient.validate)
    summary = _waits(AsyncClient.summary)
    result = _waits(AsyncClient.result)
    explain = _waits(AsyncClient.explain)
    list = _iterates(AsyncClient.list)
    watch = _iterates(AsyncClient.watch)
    watch_in_batches = _iterates(AsyncClient.watch_in_batches)
    events = _iterates(AsyncClient.events)
    logs = _iterates(AsyncClient.logs)
    cancel = _waits(AsyncClient.cancel)
    remove = _waits(AsyncClient.remove)
    signal = _waits(AsyncClient.signal)
    describe = _waits(AsyncClient.describe)
    upload_workspace = _waits(AsyncClient.upload_workspace)

    def close(self) -> None:
        """What is under way ends with an error, and nothing can be asked any more. May be repeated."""
        self._loop.run(self._client.close())
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
