"""Work that a command does beside its own, in a thread, and does not wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType

BEGIN_AFTER_SECONDS = 0.05
"""The first tasks run by then."""

LONGEST_WAIT_SECONDS = 0.5
"""How long the end waits for it: a short command must not always end it before it has done anything."""


class Tidying:
    """While it is entered, on a loop, `work` is done once; what is left of it when the command ends is dropped."""

    def __init__(self, work: Callable[[], None]) -> None:
        """`work` raises nothing and may be ended at any time."""
        self._thread = threading.Thread(target=work, name="tidying", daemon=True)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEGIN_AFTER_SECONDS, self._thread.start)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join(LONGEST_WAIT_SECONDS)
