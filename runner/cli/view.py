"""How a group is shown while it runs: live, which takes a terminal, or as lines."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Protocol
from unicodedata import east_asian_width

from msgspec import Struct

from runner.cli.tails import Tails
from runner.cli.terminal import STDERR, STDOUT, Output, visible
from runner.config.terminal import load_terminal_settings
from runner.errors import UsageError
from runner.model.result import TaskResult
from runner.model.task import Task
from runner.model.watch import Happening

if TYPE_CHECKING:
    from runner.cli.follow import Follower
    from runner.cli.live import Ask

AUTO, LIVE, PLAIN = "auto", "live", "plain"
MIN_COLUMNS = 20
"""Of a terminal that does not know how many it has."""


class View(Protocol):
    async def show(self, story: AsyncIterator[Sequence[Happening]]) -> None:
        """Show all of it, to its end."""

    def typed(self, lines: int) -> None:
        """A person has pressed Enter so often."""


class Shown(Struct, frozen=True, kw_only=True):
    """What is known of a group before its story is told: the names of its tasks, or the first of `total`; which tasks each waits
    for, or who can be asked; and those that were over before."""

    names: Sequence[str]
    total: int
    edges: Mapping[str, Sequence[str]] | None = None
    ask: Ask | None = None
    results: Sequence[TaskResult] = ()

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> Shown:
        edges = {task.name: task.edges for task in tasks}
        return cls(names=list(edges), total=len(edges), edges=edges)


def is_live(progress: str, descriptor: int, *, machine: bool) -> bool:
    """Whether a group is shown live on `descriptor` by what was asked for with `--progress`, and by what stands there. With
    `machine` the result is for a program. Raises UsageError where it cannot be."""
    if progress == PLAIN:
        return False
    settings = load_terminal_settings()
    if progress == LIVE:
        stream = "standard output" if descriptor == STDOUT else "standard error"
        if not os.isatty(descriptor):
            raise UsageError(f"--progress live needs a terminal, and {stream} is none: leave it away, or say plain")
        if not settings.steerable:
            raise UsageError(
                "--progress live needs a terminal whose cursor can be moved, and TERM names none: set TERM, or say plain"
            )
        return True
    if machine or not settings.steerable or settings.recorded or not os.isatty(descriptor):
        return False
    from runner.cli.screen import is_in_front

    return is_in_front(descriptor)


@contextmanager
def announced(what: str, options: Namespace) -> Iterator[None]:
    """Where the group would be shown live, `what` stands there until the work in it is done, and is wiped away then: a large document is
    read for seconds, and to import what reads any takes longer than a person takes for at once."""
    output, machine = Output(STDOUT), options.output == "json"
    if options.quiet or options.progress == PLAIN or not is_live(AUTO, output.descriptor, machine=machine):
        yield
        return
    output.write(_beginning(what, (output.columns or MIN_COLUMNS) - 1).encode(errors="surrogateescape"))
    try:
        yield
    finally:
        output.write(b"\r\x1b[K")


def _beginning(text: str, columns: int) -> str:
    """As much of it as has room in so many columns of one line."""
    line = " ".join(visible(text).split())
    ends = accumulate(2 if east_asian_width(char) in "WF" else 1 for char in line)
    return line[: sum(1 for _ in takewhile(lambda end: end <= columns, ends))]


class Outlets(Struct, frozen=True, kw_only=True):
    """Where a command that carries a group out writes: what becomes of it at the end to `result`, what happens meanwhile to `story`, which
    may be shown live. With `machine` the result is for a program. `title` is the story's first line: to a person it is told at once, to a
    program, which may go on from there and ask for the group, when that is accepted."""

    title: str
    result: Output
    story: Output
    live: bool
    quiet: bool
    machine: bool

    @classmethod
    def of(cls, options: Namespace, title: str) -> Outlets:
        """By `output`, `quiet` and `progress`. Raises UsageError."""
        machine = options.output == "json"
        result = Output(STDOUT)
        story = Output(STDERR) if machine else result
        live = not options.quiet and is_live(options.progress, story.descriptor, machine=machine)
        return cls(title=title, result=result, story=story, live=live, quiet=options.quiet, machine=machine)

    def begin(self) -> None:
        """What is to be carried out is known."""
        if not self.quiet and self._is_seen:
            self.story.print(self.title)

    def accepted(self) -> None:
        """It is recorded, and others find it."""
        if not self.quiet and not self._is_seen:
            self.story.print(self.title)

    @property
    def _is_seen(self) -> bool:
        return os.isatty(self.story.descriptor)


async def opened(shown: Shown, output: Output, tails: Tails, *, live: bool) -> View:
    """`tails` are given the story too."""
    # Behind the first line, which does not have to wait for them.
    if live:
        import asyncio

        # What draws takes some 30 ms to import, which only those pay who see it; the group goes on meanwhile.
        await asyncio.to_thread(import_module, "runner.cli.picture")
        return _live(shown, output.descriptor, tails)
    from runner.cli.follow import Follower

    return _Lines(Follower(shown.names, output), tails)


class _Lines:
    def __init__(self, follower: Follower, tails: Tails) -> None:
        self._follower = follower
        self._tails = tails

    async def show(self, story: AsyncIterator[Sequence[Happening]]) -> None:
        await self._follower.show(self._tails.tapped(story))

    def typed(self, lines: int) -> None:
        del lines  # what is below is not drawn anew


class Nothing:
    """Shows nothing."""

    def __init__(self, tails: Tails) -> None:
        self._tails = tails

    async def show(self, story: AsyncIterator[Sequence[Happening]]) -> None:
        async for _ in self._tails.tapped(story):
            pass

    def typed(self, lines: int) -> None:
        del lines


def _live(shown: Shown, descriptor: int, tails: Tails) -> View:
    from runner.cli.board import Board
    from runner.cli.live import Live
    from runner.cli.picture import Picture
    from runner.cli.screen import Screen

    board = Board(shown.names, tails, edges=shown.edges, total=shown.total)
    board.know(shown.results)
    picture = Picture(coloured=load_terminal_settings().coloured)
    return Live(board, picture, Screen(descriptor), ask=shown.ask, with_complaints=_same_terminal(descriptor, STDERR))


def _same_terminal(one: int, other: int) -> bool:
    return os.isatty(other) and os.fstat(one).st_rdev == os.fstat(other).st_rdev


def add_progress_argument(parser: ArgumentParser, when: str = "") -> None:
    """`when` says for what it counts, where that is not always."""
    parser.add_argument(
        "--progress",
        choices=(AUTO, LIVE, PLAIN),
        default=AUTO,
        help=f"{when}how it is shown: live, with a line for each task; plain, line by line as it is printed; auto (the default), live on a terminal",
    )
