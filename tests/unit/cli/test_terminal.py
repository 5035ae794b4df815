from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from runner.cli.terminal import Output, is_plain, visible, visible_line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain \t text", b"plain \t text"),
        (b"\x1b[31mred\x1b[0m", b"\x1b[31mred\x1b[0m\x1b[0m"),
        (b"\x1b[2Jgone", b"^[[2Jgone"),
        (b"bell\x07", b"bell^G"),
        (b"\x7f", b"^?"),
        (b"\xc2\x9b2J", b"^[2J"),
        (b"\x1b[1ma\x00\x1b[2Jb\x1b[0m\x1b", b"\x1b[1ma^@^[[2Jb\x1b[0m^[\x1b[0m"),
        (b"not utf-8 \xff\xfe", b"not utf-8 \xff\xfe"),
        ("ünïcödé".encode(), "ünïcödé".encode()),
    ],
)
def test_lines_of_tasks_keep_colours_and_lose_what_moves_the_cursor(line: bytes, shown: bytes) -> None:
    assert visible_line(line) == shown


@pytest.mark.parametrize("character", [b"\x00", b"\xc2\x80", b"\x1b", b"\x7f"])
def test_what_is_nothing_but_control_characters_takes_no_step_for_each(character: bytes) -> None:
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        return count

    former = sys.gettrace()
    sys.settrace(count)
    try:
        shown = visible_line(character * 10_000)
    finally:
        sys.settrace(former)
    assert len(shown) == 20_000
    assert steps < 1000


@pytest.mark.parametrize("byte", range(256))
def test_what_is_plain_needs_nothing_made_visible(byte: int) -> None:
    line = b"a" + bytes([byte]) + b"\x85z"
    if is_plain(line):
        assert visible_line(line) == line
        assert byte != 13


def test_texts_stay_on_one_line() -> None:
    assert visible("a\nb\r\x1b[1m\x00\u2028\u202e\x85") == "a\\nb\\r\\x1b[1m\\x00\\u2028\\u202e\\x85"


def test_a_reader_that_left_is_noticed_once_and_harmless() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(writer)
    output.print("x")
    output.print("y")
    os.close(writer)
    assert isinstance(output.lost, BrokenPipeError)
    assert (output.status(0), output.status(2)) == (0, 2)


def test_a_full_disk_is_a_failure() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    output = Output(descriptor)
    output.print("x")
    os.close(descriptor)
    assert (output.status(0), output.status(2)) == (1, 2)


def test_all_is_written_to_a_pipe_that_does_not_block() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    written = b"x" * 300_000
    child = os.fork()
    if child == 0:
        os.close(reader)
        Output(writer).write(written)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == written
    assert os.waitpid(child, 0)[1] == 0


def test_what_can_be_written_without_waiting(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    output = Output(writer)
    assert output.takes(4096)
    assert not output.takes(1 << 20)
    output.write(b"x" * (1 << 16))
    assert not output.takes(1)
    os.close(reader)
    os.close(writer)
    with open(tmp_path / "file", "wb") as file:
        assert Output(file.fileno()).takes(1 << 30)
