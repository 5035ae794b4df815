from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator

import pyte
import pytest

from runner.cli.screen import USUAL_SIZE, Screen


class Emulated:
    """A screen, and what a terminal shows of it."""

    def __init__(self, columns: int = 20, lines: int = 6) -> None:
        self._outer, self.inner = pty.openpty()
        self.emulator = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.emulator)
        self.resize(columns, lines)
        self.screen = Screen(self.inner)

    def resize(self, columns: int, lines: int) -> None:
        self.emulator.resize(lines, columns)
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def write(self, data: bytes) -> None:
        os.write(self.inner, data)

    def shown(self) -> list[str]:
        os.write(self.inner, b"\x05")  # so that there is something to read
        data = b""
        while not data.endswith(b"\x05"):
            data += os.read(self._outer, 65536)
        self._stream.feed(data[:-1])
        return "\n".join(line.rstrip() for line in self.emulator.display).rstrip().split("\n")

    def close(self) -> None:
        os.close(self._outer)
        os.close(self.inner)


@pytest.fixture
def terminal() -> Iterator[Emulated]:
    emulated = Emulated()
    yield emulated
    emulated.close()


def test_a_frame_takes_the_place_of_the_last_one(terminal: Emulated) -> None:
    terminal.write(b"before\r\n")
    terminal.screen.draw(["one", "two longer", "three"])
    assert terminal.shown() == ["before", "one", "two longer", "three"]
    terminal.screen.draw(["1", "2"])
    assert terminal.shown() == ["before", "1", "2"]
    assert (terminal.emulator.cursor.x, terminal.emulator.cursor.y) == (0, 3)
    assert not terminal.emulator.cursor.hidden


def test_what_is_said_stands_above(terminal: Emulated) -> None:
    terminal.screen.draw(["frame", "of two"])
    terminal.screen.say("a\nlonger than the terminal is wide")
    assert terminal.shown() == ["a", "longer than the term", "inal is wide", "frame", "of two"]
    terminal.screen.draw(["frame"])
    assert terminal.shown() == ["a", "longer than the term", "inal is wide", "frame"]


def test_what_is_typed_is_wiped_away(terminal: Emulated) -> None:
    terminal.write(b"^C")
    terminal.screen.draw(["frame"])
    assert terminal.shown() == ["frame"]
    terminal.write(b"^C and more")
    terminal.screen.draw(["another"])
    assert terminal.shown() == ["another"]


def test_a_line_that_is_too_long_is_cut(terminal: Emulated) -> None:
    terminal.screen.draw(["x" * 50, "next"])
    assert terminal.shown() == ["x" * 20, "next"]
    terminal.write(b"y" * 25)
    assert terminal.shown()[2:] == ["y" * 20, "y" * 5]  # but not what others write


def test_at_the_end_of_the_terminal_it_scrolls(terminal: Emulated) -> None:
    terminal.write(b"1\r\n2\r\n3\r\n4\r\n")
    for name in ("a", "b"):
        terminal.screen.draw([name, name, name, name])
    assert terminal.shown() == ["4", "b", "b", "b", "b"]
    terminal.screen.say("said")
    assert terminal.shown() == ["said", "b", "b", "b", "b"]


def test_in_a_lower_terminal_nothing_above_is_overwritten(terminal: Emulated) -> None:
    terminal.screen.draw(["a", "b", "c", "d", "e"])
    terminal.resize(20, 3)
    terminal.screen.draw(["1", "2"])
    assert terminal.shown()[-2:] == ["1", "2"]


def test_the_same_frame_is_not_written_again(terminal: Emulated) -> None:
    terminal.screen.draw(["a"])
    terminal.shown()
    terminal.write(b"typed")
    terminal.screen.draw(["a"])
    assert terminal.shown() == ["a", "typed"]
    terminal.screen.leave()
    terminal.screen.draw(["a"])
    assert terminal.shown()[0] == "a"
    assert len(terminal.shown()) == 2


def test_a_terminal_without_a_size_has_the_usual_one(terminal: Emulated) -> None:
    terminal.resize(1, 1)
    fcntl.ioctl(terminal.inner, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    assert terminal.screen.size == USUAL_SIZE


def test_what_no_terminal_is_has_the_usual_size_too() -> None:
    reader, writer = os.pipe()
    try:
        assert Screen(writer).size == USUAL_SIZE
    finally:
        os.close(reader)
        os.close(writer)


def test_a_terminal_that_is_gone_is_lost_and_no_error() -> None:
    terminal = Emulated()
    os.close(terminal._outer)
    terminal.screen.draw(["a"])
    assert terminal.screen.lost
    terminal.screen.say("b")
    os.close(terminal.inner)
