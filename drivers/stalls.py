"""Names who holds up the runner's loop, while drivers work that nobody here has written."""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
from pathlib import Path
from types import FrameType

SECONDS = 5.0
"""How long the loop may not turn before that is told."""

_OURS = tuple(str(Path(__file__).parents[1] / name) + "/" for name in ("drivers", "runner", "taskimpl", "cache"))
_STANDARD = (sysconfig.get_path("stdlib") + "/", "<frozen")

_log = logging.getLogger(__name__)


class Watch:
    """Looks, from a thread of its own, while it is held at least once. It belongs to the loop that it is held in first."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._holders: set[object] = set()
        self._over = threading.Event()

    def hold(self, holder: object) -> None:
        """For as long as `holder` may have something to do; again it changes nothing."""
        if not self._holders:
            self._over = threading.Event()
            arguments = (asyncio.get_running_loop(), threading.get_ident(), self._over)
            threading.Thread(target=self._look, args=arguments, name="stalls", daemon=True).start()
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        self._holders.discard(holder)
        if not self._holders:
            self._over.set()

    def _look(self, loop: asyncio.AbstractEventLoop, thread: int, over: threading.Event) -> None:
        while not over.wait(self._seconds):
            turned = threading.Event()
            try:
                loop.call_soon_threadsafe(turned.set)
            except RuntimeError:  # it is closed
                return
            if not turned.wait(self._seconds):
                place = _place(sys._current_frames().get(thread))
                if place is not None:
                    _log.error(
                        "the runner is held up by %s, which has not come back for %g s: a driver must not block; "
                        "asyncio.to_thread is for what does",
                        place,
                        self._seconds,
                        extra={"action": "held_up"},
                    )
                turned.wait()


def _place(frame: FrameType | None) -> str | None:
    """The innermost line that is neither ours nor Python's; None where there is none, and so nobody to be named."""
    while frame is not None:
        code = frame.f_code
        packaged = "/site-packages/" in code.co_filename
        if packaged or not code.co_filename.startswith((*_OURS, *_STANDARD)):
            return f"{code.co_filename}, line {frame.f_lineno}, in {code.co_name}"
        frame = frame.f_back
    return None
