"""What a command writes for people and pipes: bytes to descriptors, so that no locale, closed stream or gone reader can
make it fail, and without the control characters that could move a terminal's cursor."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STDOUT, STDERR = 1, 2
MOST_MARKS = 2
"""So many of them may stand on one character; real languages need no more."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
_CONTROL_BYTES = bytes({*range(32), 127} - {9, 10})
_CARETS = [
    (before + bytes([byte]), b"^" + bytes([byte & 0x7F ^ 0x40]))
    for before, bytes_of in ((b"\xc2", range(0x80, 0xA0)), (b"", sorted(_CONTROL_BYTES)))
    for byte in bytes_of
]
_COLOUR = re.compile(rb"(\x1b\[[0-9;:]*m)")
_COLOUR_END = b"\x1b[0m"
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ`-~])"
)
_CONTROL_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def secure_standard_streams() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed: else the next file that is opened would take its place."""
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # argparse and the interpreter's own last words need objects; what they would write here nobody reads.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (lives as long as the process)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (lives as long as the process)


class Output:
    """One descriptor to write to. Once writing failed, `lost` tells why and all that follows is dropped."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.lost: OSError | None = None

    @property
    def columns(self) -> int:
        """How many a line has at this moment; 0 where that is no terminal, or one that does not know."""
        try:
            return os.get_terminal_size(self.descriptor).columns
        except OSError:
            return 0

    def takes(self, size: int) -> bool:
        """Whether `size` bytes can be written now without waiting for a reader."""
        try:
            if stat.S_ISREG(os.fstat(self.descriptor).st_mode):
                return True
            # A pipe or terminal that is ready for writing takes this much at once.
            return size <= select.PIPE_BUF and bool(select.select([], [self.descriptor], [], 0)[1])
        except (OSError, ValueError):
            return True

    def write(self, data: bytes) -> None:
        """Write all of `data`, waiting for the reader as long as it takes."""
        view = memoryview(data)
        try:
            while view and self.lost is None:
                try:
                    view = view[os.write(self.descriptor, view) :]
                except BlockingIOError:
                    select.select([], [self.descriptor], [])
        except OSError as error:
            self.lost = error

    def print(self, text: str) -> None:
        """Write `text` and a newline, as UTF-8."""
        self.write(text.encode(errors="surrogateescape") + b"\n")

    def status(self, status: int) -> int:
        """The exit status of a command that would end with `status`: no success where output was lost to more than a reader
        who left."""
        lost = self.lost is not None and not isinstance(self.lost, BrokenPipeError)
        return status or int(lost)


_bystanders: list[Callable[[str], None]] = []
"""Who shows something at the terminal that stderr is, if anybody does: like that, there is one of it."""


def complain(message: str) -> None:
    """Say on stderr what is wrong. Each line of `message` is shown, control characters as escapes."""
    lines = [visible(line) for line in message.splitlines()] or [""]
    text = "\n".join([f"runner: {lines[0]}", *lines[1:]])
    if _bystanders:
        _bystanders[-1](text)
    else:
        Output(STDERR).print(text)


@contextmanager
def complaints_to(show: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile `show` is given what is to be said on stderr, for it has something there that must not be written into."""
    _bystanders.append(show)
    try:
        yield
    finally:
        _bystanders.remove(show)


def visible(text: str) -> str:
    """`text` on one line, with what could move the cursor or turn the writing direction as escapes, e.g. `\\x1b`."""
    return _CONTROL_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_plain(data: bytes) -> bool:
    """Whether nothing in `data` has to be made visible or ends a line other than by a newline. Fast, and on the safe side."""
    return b"\xc2" not in data and len(data.translate(None, _CONTROL_BYTES)) == len(data)


def visible_line(line: bytes) -> bytes:
    """One line of a task's output as it may be shown: colours stay, other control characters become `^X`. As fast where the line
    is nothing else: a program may print a disk."""
    if not _CONTROL.search(line):
        return line
    pieces = _COLOUR.split(line)
    pieces[::2] = map(_without_control, pieces[::2])
    return b"".join(pieces) + (_COLOUR_END if len(pieces) > 1 else b"")


def bare_line(line: bytes) -> str:
    """One line of a task's output as text alone: without colours, and without whatever else was meant for a terminal."""
    text = _ESCAPES.sub("", line.decode(errors="replace")).replace("\t", " ")
    return visible(text if text.isascii() else "".join(_unstacked(text)))


def _unstacked(text: str) -> Iterator[str]:
    """Marks that are put on a character in heaps would reach into other lines."""
    import unicodedata

    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me", "Cf"} else 0
        if marks <= MOST_MARKS:
            yield character


def _without_control(data: bytes) -> bytes:
    if not _CONTROL.search(data):  # between colours
        return data
    for character, shown in _CARETS:
        data = data.replace(character, shown)
    return data
