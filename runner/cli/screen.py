"""A few lines at the bottom of a terminal that are drawn anew in their place, while others go by above them.

Each frame is one piece that leaves the terminal as it found it: the cursor at the beginning of the line below, no attribute set.
So there is nothing to be put right however this process ends, and what a person types meanwhile is wiped away by the next frame.
While a frame is drawn long lines are cut and not wrapped, for terminals do not agree on how wide some characters are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from runner.cli.terminal import Output

USUAL_SIZE = (80, 24)
"""Columns and lines, of a terminal that does not know its own."""

_HIDE = "\x1b[?25l"
_CUT = "\x1b[?7l"
_END = "\x1b[0m\x1b[J\x1b[?7h\x1b[?25h"
_START_OF_LINE = "\x1b[G"
"""Between the pieces of a frame the system may put in what a person types."""
_END_OF_LINE = "\x1b[0m\x1b[K\r\n"


class Screen:
    """May be used by several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._output = Output(descriptor)
        self._frame: Sequence[str] = ()
        self._rows = 0
        """How many lines above the cursor are ours."""
        self._left = False
        self._lock = threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, at this moment."""
        try:
            columns, lines = os.get_terminal_size(self._descriptor)
        except OSError:
            return USUAL_SIZE
        return columns or USUAL_SIZE[0], lines or USUAL_SIZE[1]

    @property
    def lost(self) -> bool:
        return self._output.lost is not None

    @property
    def takes(self) -> bool:
        """Whether the terminal takes something now: it may be held (Ctrl-S), or be somebody else's at the moment (`bg`)."""
        return self._output.takes(1) and is_in_front(self._descriptor)

    def draw(self, frame: Sequence[str]) -> None:
        """Put `frame` in the place of the last one; at most as many lines as fit, one less than the terminal has."""
        with self._lock:
            if frame != self._frame or self._left:
                self._frame = frame
                self._put("")

    def say(self, text: str) -> None:
        """Write lines that stay, above the frame."""
        with self._lock:
            self._put("".join(f"{_START_OF_LINE}{line}{_END_OF_LINE}" for line in text.split("\n")))

    def typed(self, lines: int) -> None:
        """A person has pressed Enter so often: the cursor is so much lower."""
        with self._lock:
            self._rows += lines

    def leave(self) -> None:
        """What is there stays there; the next frame begins below. Waits for nobody."""
        self._left = True

    def _put(self, above: str) -> None:
        if self._left:
            self._rows, self._left = 0, False
        up = min(self._rows, self.size[1] - 1)  # what has left the screen cannot be reached
        start = f"\x1b[{up}F" if up else _START_OF_LINE
        frame = "".join(f"{_START_OF_LINE}{line}{_END_OF_LINE}" for line in self._frame)
        text = f"{_HIDE}{start}{above}{_CUT}{frame}{_END}"
        self._output.write(text.encode(errors="replace"))
        self._rows = len(self._frame)


def is_in_front(descriptor: int) -> bool:
    """Whether this process may write to the terminal without writing into what somebody else does there."""
    try:
        return os.tcgetpgrp(descriptor) in (os.getpgrp(), 0)
    except OSError:
        return True  # it is not the terminal of this session: nobody works there with jobs
