"""The command `runner` at a real pseudo-terminal, with an emulator at its other end that knows what is on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pyte
import pytest

from tests.acceptance.command import RUNNER, Command

LONGEST_SECONDS = 50.0
LONGEST_FRAME_BYTES = 1 << 16
AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)

Open = Callable[..., "Terminal"]
"""As `Terminal` itself, without the first argument: the fixture `at_terminal`."""


class Terminal:
    """Runs a command in a session of its own whose terminal this is. `raw` is all that was written there."""

    def __init__(
        self,
        runner: Command,
        *arguments: str,
        columns: int = 100,
        lines: int = 30,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = RUNNER,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """Where `stdout` or `stderr` are given they are these instead of the terminal."""
        self.raw = b""
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._stream = pyte.ByteStream(self.screen)
        self._terminal, inner = pty.openpty()
        self.resize(columns, lines)
        self.process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *command, *arguments],
            cwd=runner.folder,
            env={**runner.environment, "TERM": "xterm-256color", **(environment or {})},
            stdin=inner,
            stdout=inner if stdout is None else stdout,
            stderr=inner if stderr is None else stderr,
            start_new_session=True,
        )
        runner.started.append(self.process)
        self.settings = termios.tcgetattr(inner)
        self._inner = inner
        """Kept open, so that what was written last is not lost with the last who has it open."""

    @property
    def display(self) -> list[str]:
        """The lines on the screen, without spaces at their ends."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The same in one piece, without empty lines at its end."""
        return "\n".join(self.display).rstrip()

    @property
    def all_text(self) -> str:
        """With what has scrolled away."""
        width = self.screen.columns
        above = ["".join(line[column].data for column in range(width)).rstrip() for line in self.screen.history.top]
        return "\n".join([*above, self.text])

    @property
    def last_frame(self) -> list[str]:
        """The lines of the last frame that came whole, without colours."""
        frame = self.raw[-LONGEST_FRAME_BYTES:].rpartition(b"\x1b[?25h")[0].rpartition(b"\x1b[?25l")[2]
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame.decode()).split("\r\n")[:-1]

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, seen: str | Callable[[Terminal], object]) -> None:
        """Read until this stands on the screen, or this is so."""
        until = time.monotonic() + LONGEST_SECONDS
        while not (seen in self.text if isinstance(seen, str) else seen(self)):
            if not self._read(max(0.0, until - time.monotonic())):
                pytest.fail(f"never seen: {seen!r}; but\n{self.text}")

    def end(self) -> int:
        """The exit status, when all was read that was written."""
        until = time.monotonic() + LONGEST_SECONDS
        while self.process.poll() is None:
            self._read(0.05)
            assert time.monotonic() < until, self.text
        while self._read(0.0):
            pass
        return self.process.wait()

    def hang_up(self) -> None:
        """The window is closed."""
        for descriptor in (self._inner, self._terminal):
            os.close(descriptor)
        self._inner = self._terminal = -1

    def assert_whole(self) -> None:
        """The terminal is as it was found: a cursor that is seen at the beginning of a line, lines that wrap, no colour, all that is
        typed is seen, and the usual screen."""
        assert not self.screen.cursor.hidden
        assert self.screen.cursor.x == 0
        assert pyte.modes.DECAWM in self.screen.mode
        assert self.screen.cursor.attrs == self.screen.default_char
        assert termios.tcgetattr(self._inner) == self.settings
        assert b"\x1b[?1049" not in self.raw

    def close(self) -> None:
        if self._terminal >= 0:
            self.hang_up()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            piece = os.read(self._terminal, 65536)
            self.raw += piece
            self._stream.feed(piece)
        return True


def gate(runner: Command, name: str) -> str:
    """A command that waits until `open_gate` is called."""
    os.mkfifo(runner.folder / name)
    return f"read x < {runner.folder / name}"


def open_gate(runner: Command, name: str) -> None:
    (runner.folder / name).write_text("go\n")


def plainly(line: str) -> str:
    """Without how long something took."""
    return re.sub(r"\d+\.\d s", "TIME", line)
