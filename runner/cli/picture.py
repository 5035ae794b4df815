"""Draws a board as the lines of a terminal of some size: never more of them, never longer ones. Pure.

    ✓ checkout  success    1.2 s  HEAD is now at 1f2e3d4
    ✗ lint      failed     3.4 s  exit code 2 · Found 1 error
    ▸ build     running   12.3 s  Building C object foo.o
    · test      waiting           for build
    ━━━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━  2 of 4 done · 1 failed · 1 running · 1 waiting · 13.0 s

Where not all tasks have room, those are shown that failed, run, or wait for something else than other tasks or a slot, of each some;
and of the rest some that wait.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from runner.cli.board import Board, Heap, Row, seconds_text
from runner.cli.report import MAX_NAME_WIDTH
from runner.cli.terminal import visible
from runner.model.result import Status, Waiting

MAX_BAR_WIDTH = 40
MIN_BAR_WIDTH = 10
WORDS_FROM_WIDTH = 60
"""In a narrower terminal a mark alone tells how a task is."""

SHOWN = (Heap.FAILED, Heap.RUNNING, Heap.WAITING)

_MARKS = {
    Status.PENDING: ("·", "yellow"),
    Status.RUNNING: ("▸", "cyan"),
    Status.SUCCESS: ("✓", "green"),
    Status.FAILED: ("✗", "red"),
    Status.ERRORED: ("✗", "red"),
    Status.ABORTED: ("✗", "yellow"),
    Status.SKIPPED: ("-", "bright_black"),
}


class Picture:
    def __init__(self, *, coloured: bool) -> None:
        """Without colours nothing else is marked by escape sequences either."""
        self._coloured = coloured
        self._console = Console(
            file=io.StringIO(), force_terminal=True, legacy_windows=False, color_system="standard" if coloured else None,
            no_color=not coloured, _environ={},
        )  # fmt: skip

    def draw(self, board: Board, width: int, height: int) -> list[str]:
        """At most `height` lines of at most `width` cells, with colours and without newlines."""
        if width < 1 or height < 1:
            return []
        room = height - 1
        below = [Text(board.note, style="bold")] if board.note and room > 1 else []
        rows, rest = _chosen(board, room - len(below))
        if rest:
            below.insert(0, Text(rest, style="bright_black"))
        lines = [*_table(board, rows, width), *below]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return [*(self._written(line.render(self._console)) for line in lines), self._bar(board, width)]

    def _written(self, segments: Iterable[Segment]) -> str:
        # What `Console.print` does besides takes most of the time of a frame, and is done already.
        colours = ColorSystem.STANDARD if self._coloured else None
        return "".join(
            text if style is None else style.render(text, color_system=colours) for text, style, _ in segments
        )

    def _bar(self, board: Board, width: int) -> str:
        parts = list(board.summary())
        while len(parts) > 1 and cell_len(" · ".join(parts)) > width:
            parts.pop(-2 if len(parts) > 2 else 1)  # how much is done, what failed, and for how long, is what counts
        text = " · ".join(parts)
        room = min(MAX_BAR_WIDTH, width - cell_len(text) - 2)
        if room < MIN_BAR_WIDTH:
            return set_cell_size(text, min(width, cell_len(text)))
        style = "red" if board.failed else "green"
        bar = ProgressBar(
            total=max(1, board.total), completed=board.over, width=room, complete_style=style, finished_style=style
        )
        drawn = list(self._console.render(bar, self._console.options.update(width=room)))
        # Without colours nothing is drawn where nothing is done yet.
        return self._written(drawn) + " " * (room - sum(segment.cell_length for segment in drawn) + 2) + text


def _chosen(board: Board, room: int) -> tuple[Sequence[Row], str]:
    """The rows for so many lines, and what is said of the others, which takes a line of them."""
    if board.total <= room:
        return list(board.rows.values()), ""
    room -= 1
    if room < 0:
        return [], ""
    sizes = [len(board.heaps[heap]) for heap in SHOWN]
    shares = _shares(sizes, room)
    rows: list[Row] = []
    for heap, share in zip(SHOWN, shares, strict=True):
        kept = board.heaps[heap]
        # What failed last is news; what runs longest may hang.
        rows += islice(reversed(kept.values()) if heap is Heap.FAILED else kept.values(), share)
    rows += islice(board.heaps[Heap.PENDING].values(), room - len(rows))
    shown = Counter(row.status if row.heap is not Heap.FAILED else Status.FAILED for row in rows)
    hidden = {
        "more failed": board.failed - shown[Status.FAILED],
        "more running": board.counts[Status.RUNNING] - shown[Status.RUNNING],
        "more waiting": board.counts[Status.PENDING] - shown[Status.PENDING],
        "successful": board.counts[Status.SUCCESS],
    }
    told = ", ".join(f"{number:,} {how}" for how, number in hidden.items() if number > 0)
    return rows, f"… {told}" if told else ""


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """How much of `room` each gets: what it needs, and if that is too much for all, as much as the others."""
    shares = [0] * len(sizes)
    while room > 0 and (hungry := [index for index, size in enumerate(sizes) if shares[index] < size]):
        portion = max(1, room // len(hungry))
        for index in hungry:
            given = min(portion, sizes[index] - shares[index], room)
            shares[index] += given
            room -= given
    return shares


def _table(board: Board, rows: Iterable[Row], width: int) -> list[Text]:
    shown = [(row, _words(row), _time(board, row)) for row in rows]
    names = min(MAX_NAME_WIDTH, max(6, width // 3), max((cell_len(row.name) for row, _, _ in shown), default=0))
    words = max((len(word) for _, word, _ in shown), default=0) if width >= WORDS_FROM_WIDTH else 0
    times = max((len(time) for _, _, time in shown), default=0)
    return [_line(board, row, (word, words), (time, times), names) for row, word, time in shown]


def _line(board: Board, row: Row, word: tuple[str, int], time: tuple[str, int], names: int) -> Text:
    mark, style = _MARKS[row.status]
    name = Text(_within(visible(row.name), names))
    name.truncate(names, overflow="ellipsis", pad=True)
    line = Text.assemble((mark, style), " ", name)
    if word[1]:
        line.append(f"  {word[0]:{word[1]}}", style=style)
    if time[1]:
        line.append(f"  {time[0]:>{time[1]}}")
    detail = visible(board.detail(row))
    if detail:
        line.append("  ")
        line.append(detail, style="bright_black" if row.status in (Status.SUCCESS, Status.RUNNING) else "")
    return line


def _within(name: str, cells: int) -> str:
    """Instances of a matrix begin alike, and often end so: both ends stay."""
    if cell_len(name) <= cells:
        return name
    behind = (cells - 1) // 2
    return f"{name[: cells - 1 - behind]}…{name[len(name) - behind :]}"


def _words(row: Row) -> str:
    if row.status is Status.PENDING:
        return "waiting"
    return "paused" if row.waiting == Waiting.PAUSED else row.status.value


def _time(board: Board, row: Row) -> str:
    seconds = board.seconds(row)
    return "" if seconds is None else seconds_text(seconds)
