"""The terminal of whoever converses with a program: every key is passed on as it is, and afterwards it is as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from runner.cli.terminal import STDERR, STDOUT, Output
from runner.model.shell import LARGEST_MEASURE, Size

STDIN = 0
READ_BYTES = 32 << 10
_UNKNOWN = Size(24, 80)
_NEW_LINE = b"\r\n"


def is_terminal() -> bool:
    return os.isatty(STDIN)


def size() -> Size:
    """Of the terminal that keys come from; one that does not know its size is a usual one."""
    for descriptor in (STDIN, STDOUT, STDERR):
        with suppress(OSError):
            columns, rows = os.get_terminal_size(descriptor)
            if rows > 0 and columns > 0:
                return Size(min(rows, LARGEST_MEASURE), min(columns, LARGEST_MEASURE))
    return _UNKNOWN


@contextmanager
def raw(on_resize: Callable[[], None]) -> Iterator[None]:
    """While this is entered every key is a byte, those too that would be signals; `on_resize` is called on the loop when the size of
    the terminal has changed. Never waits for what was shown: a terminal may take nothing."""
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(STDIN)
    whole = False

    def again() -> None:
        """Whoever has stopped this process and let it go on may have changed the terminal."""
        with suppress(termios.error):
            tty.setraw(STDIN, termios.TCSANOW)
        on_resize()

    loop.add_signal_handler(signal.SIGWINCH, on_resize)
    loop.add_signal_handler(signal.SIGCONT, again)
    try:
        tty.setraw(STDIN, termios.TCSANOW)
        yield
        whole = True
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_signal_handler(signal.SIGCONT)
        with suppress(termios.error):  # it is gone
            termios.tcsetattr(STDIN, termios.TCSANOW, before)
        output = Output(STDERR)
        if not whole and output.takes(len(_NEW_LINE)):  # what was shown may have ended anywhere
            output.write(_NEW_LINE)


async def typed() -> bytes:
    """What comes on stdin next; nothing at its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(STDIN, ready.set)
    except PermissionError:  # a file, which does not let anybody wait
        return await asyncio.to_thread(_read)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(STDIN)
    return _read()


def _read() -> bytes:
    try:
        return os.read(STDIN, READ_BYTES)
    except OSError:  # the terminal is gone
        return b""
