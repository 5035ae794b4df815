from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from runner.cli.board import Board, Heap
from runner.cli.picture import Picture
from runner.cli.tails import Tails
from runner.model.event import Event, Kind
from runner.model.explanation import Cause
from runner.model.log import Frame
from runner.model.result import Status, TaskResult
from runner.model.watch import LogChunk

NOW = 1000.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Group:
    """A board that is told what happens; all of it at `NOW` unless it is said when."""

    def __init__(self, *names: str, total: int | None = None, **edges: list[str]) -> None:
        self.board = Board(names, Tails(), edges=edges, total=total, now=lambda: NOW)

    def tell(self, kind: Kind, task: str | None = None, at: float = NOW, attempt: int = 1, **fields: Any) -> Group:
        number = attempt if task else None
        self.board.take(Event(group="g", number=1, at=at, kind=kind, task=task, attempt=number, fields=fields))
        return self

    def start(self, task: str, at: float = NOW, attempt: int = 1) -> Group:
        self.tell(Kind.TASK_DISPATCHED, task, at, attempt, runner="here")
        return self.tell(Kind.TASK_STARTED, task, at, attempt)

    def print(self, task: str, data: bytes, attempt: int = 1) -> Group:
        frame = Frame(stream="stdout", offset=0, data=data, at=NOW, position=0)
        self.board.take(LogChunk(task=task, attempt=attempt, frame=frame))
        return self

    def end(self, task: str, status: str = "success", at: float = NOW, attempt: int = 1, **fields: Any) -> Group:
        return self.tell(Kind.TASK_FINISHED, task, at, attempt, status=status, **fields)

    def drawn(self, width: int = 100, height: int = 20, *, coloured: bool = False) -> list[str]:
        return [line.rstrip() for line in Picture(coloured=coloured).draw(self.board, width, height)]


def test_a_line_for_each_task_tells_status_time_and_reason() -> None:
    group = Group("checkout", "lint", "build", "test", "deploy", test=["lint", "build"], deploy=["test"])
    group.tell(Kind.GROUP_STARTED, at=NOW - 5)
    group.start("checkout", NOW - 5).print("checkout", b"one\ntwo\n").end("checkout", at=NOW - 3.5)
    group.start("lint", NOW - 3).print("lint", b"Found 1 error\n\n").end("lint", "failed", NOW - 1, exit_code=2)
    group.start("build", NOW - 75).print("build", b"10%\r\x1b[2K 20%")
    assert group.drawn() == [
        "✓ checkout  success       1.5 s  two",
        "✗ lint      failed        2.0 s  exit code 2 · Found 1 error",
        "▸ build     running  1 min 15 s  20%",
        "· test      waiting              for build",
        "· deploy    waiting              for test",
        f"{'━' * 16:40}  2 of 5 done · 1 failed · 1 running · 2 waiting · 5.0 s",
    ]


def test_of_a_group_that_was_over_before_it_is_told_how_long_it_took() -> None:
    group = Group("a").tell(Kind.GROUP_STARTED, at=NOW - 90).start("a", NOW - 90).end("a", at=NOW - 88)
    assert group.tell(Kind.GROUP_FINISHED, at=NOW - 87.5, status="success").drawn()[-1].endswith(" · 2.5 s")


def line_of(group: Group, task: str) -> str:
    return next(line for line in group.drawn() if f" {task} " in f"{line} ")


def test_whatever_waits_has_its_reason() -> None:
    names = ("slot", "again", "away", "held", "place", "named", "many", "free")
    group = Group(*names, named=["slot", "again"], many=["slot", "again", "away", "held", "named"], free=["elsewhere"])
    group.tell(Kind.TASK_READY, "slot", waiting="slot")
    group.start("again").tell(Kind.TASK_RETRYING, "again", NOW, status="failed", exit_code=7, seconds=2.5)
    group.tell(Kind.TASK_WAITING, "away", waiting="peer_unreachable", why="eu-1: no\x1b[2J answer")
    group.start("held", NOW - 1).tell(Kind.TASK_PAUSED, "held")
    group.tell(Kind.TASK_WAITING, "place", waiting="matrix")
    assert [line[9:] for line in group.drawn()[:-1]] == [
        "waiting         for a slot",
        "waiting         for attempt 2, in 2.5 s · failed: exit code 7",
        "waiting         for a runner: eu-1: no\\x1b[2J answer",
        "paused   1.0 s  paused, waits to be told to go on",
        "waiting         for other instances of its matrix",
        "waiting         for slot and again",
        "waiting         for slot, again, away and 2 more",
        "waiting",  # for its turn, which comes at once
    ]
    group.start("again", attempt=2).tell(Kind.TASK_RESUMED, "held")
    assert line_of(group, "again").endswith("0.0 s  attempt 2")
    assert "paused" not in line_of(group, "held")


def test_what_ended_or_was_skipped_tells_why() -> None:
    group = Group("a", "b", "c")
    group.start("a").print("a", b"cleaning").end("a", "aborted", reason="cancelled")
    group.tell(Kind.TASK_SKIPPED, "b", reason="dependency_failed", because_of="a")
    group.start("c").tell(Kind.PEER_LOST, "c", runner="eu-1")
    assert line_of(group, "a") == "✗ a  aborted  0.0 s  the group was cancelled · cleaning"
    assert line_of(group, "b") == "- b  skipped         because a did not succeed"
    assert line_of(group, "c").endswith("eu-1 cannot be reached; what runs there goes on")
    assert "aborted" in group.drawn()[-1]


def test_what_became_secret_is_not_shown_any_more() -> None:
    group = Group("a", "b").start("a").print("a", b"hush").start("b").print("b", b"hush").end("b")
    for task in ("a", "b"):
        assert line_of(group, task).endswith("hush")
        group.tell(Kind.LOG_REDACTED, task, stream="stdout", marks=1, offset=0)
        assert "hush" not in line_of(group, task)


def test_warnings_are_to_be_said_and_stay() -> None:
    group = Group("a").start("a").tell(Kind.MASK_SKIPPED, "a", name="pin\x1b[2J")
    assert group.board.said == ["a -- warning: pin\\x1b[2J is too short or too common to be masked in the output"]


def test_it_stands_still_for_the_first_that_failed_until_that_is_decided() -> None:
    group = Group("a", "b", "c")
    for task in ("a", "b"):
        group.start(task).tell(Kind.TASK_HELD, task, status="failed", exit_code=7)
    assert group.drawn()[-2] == "stands still: a has failed"
    group.start("a", attempt=2)
    assert group.drawn()[-2] == "stands still: b has failed"
    group.end("b", "failed", exit_code=7)
    assert "stands still" not in "".join(group.drawn())


def test_what_waits_for_one_whose_failure_is_held_says_so() -> None:
    group = Group("a", "b", b=["a"]).start("a").tell(Kind.TASK_HELD, "a", status="failed", exit_code=7)
    assert line_of(group, "b").endswith("waiting         for a")


@pytest.mark.parametrize("ended_early", [False, True])
def test_a_failure_that_was_held_and_stands_took_no_longer_and_keeps_its_last_line(ended_early: bool) -> None:
    group = Group("a").start("a", NOW - 9).print("a", b"why\n")
    group.tell(Kind.TASK_HELD, "a", NOW - 8, status="failed", exit_code=7)
    before = line_of(group, "a")
    assert before == "✗ a  failed  1.0 s  exit code 7 · why"
    if ended_early:
        group.tell(Kind.CANCEL_REQUESTED, reason="cancelled", count=1)
    assert line_of(group.end("a", "failed", NOW, exit_code=7), "a") == before
    group.start("a", NOW, attempt=2)
    assert line_of(group.end("a", at=NOW + 2, attempt=2), "a") == "✓ a  success  2.0 s"


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"reason": "cancelled", "count": 1}, "stopping, the group was cancelled"),
        ({"reason": "cancelled", "count": 2}, "stopping without clean-up: what still runs is killed"),
        ({"reason": "fail_fast", "because_of": "lint"}, "stopping, failFast: lint failed"),
        ({"reason": "group_timeout"}, "stopping, the group's time was over"),
    ],
)
def test_that_all_of_it_is_being_stopped_is_said(fields: dict[str, Any], note: str) -> None:
    group = Group("a").start("a").tell(Kind.CANCEL_REQUESTED, **fields)
    assert group.drawn()[-2] == note


def test_of_a_group_that_waits_as_a_whole_it_is_said_why() -> None:
    group = Group("a").tell(Kind.GROUP_WAITING, waiting="peer_unreachable", why="nobody is there")
    assert group.drawn()[-2] == "waits: nobody is there"
    assert len(group.tell(Kind.GROUP_STARTED).drawn()) == 2


def thousand() -> Group:
    group = Group(*(f"t{number}" for number in range(1000)), total=1000)
    for number in range(300):
        group.start(f"t{number}").end(f"t{number}", "failed" if number % 10 == 0 else "success", exit_code=1)
    for number in range(300, 340):
        group.start(f"t{number}", NOW - number)
    for number in range(340, 343):
        group.tell(Kind.TASK_WAITING, f"t{number}", waiting="peer_unreachable", why="eu-1 is away")
    return group


def test_of_a_thousand_tasks_those_are_shown_that_somebody_has_to_know_of() -> None:
    lines = thousand().drawn(height=23)
    assert len(lines) == 23
    assert [line[0] for line in lines] == ["✗"] * 9 + ["▸"] * 9 + ["·"] * 3 + ["…", "━"]
    assert lines[0].startswith("✗ t290 ")  # the last that failed
    assert lines[9].startswith("▸ t300 ")  # what runs longest
    assert lines[-2] == "… 21 more failed, 31 more running, 657 more waiting, 270 successful"
    assert lines[-1].endswith("300 of 1,000 done · 30 failed · 40 running · 660 waiting")


def test_what_waits_for_others_fills_what_is_left() -> None:
    group = Group(*(f"t{number}" for number in range(100))).start("t0").end("t0").start("t1")
    lines = group.drawn(height=10)
    assert [line.split()[1] for line in lines[:-2]] == [f"t{number}" for number in range(1, 9)]
    assert lines[-2] == "… 91 more waiting, 1 successful"


def test_tasks_whose_names_are_not_known_yet_count() -> None:
    group = Group("a", total=3000).start("a").end("a").start("late")
    assert group.drawn()[-1].endswith("1 of 3,000 done · 1 running · 2,998 waiting")
    assert any(line.startswith("▸ late ") for line in group.drawn())
    assert Group("a").start("b").drawn()[-1].endswith("0 of 2 done · 1 running · 1 waiting")


HOSTILE = [
    b"\x1b[2J\x1b[H\x1b[31mred\x1b]0;title\x07\x1b[5A up\x1b[?1049h\x07\b\xc2\x9b31m",
    b"\x1b[31",
    b"\x1b]8;;http://x",
    b"\x1bP1;2",
    b"\x1b",
    b"a\tb\x0bc\x0cd",
    "\u202eright\u2066\u2028\u0085".encode(),
    b"\xff\xfe\x80",
    ("a" + "\u0301" * 500).encode(),
    "漢字".encode() * 5000,
    "👩‍👩‍👧‍👦".encode() * 300,
    b"x" * 300_000,
]


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("coloured", [True, False])
def test_nothing_that_a_task_prints_leaves_its_line(data: bytes, coloured: bool) -> None:
    group = Group("t", "u").start("t").print("t", data)
    lines = group.drawn(40, 10, coloured=coloured)
    assert len(lines) == 3
    for line in lines:
        text = COLOUR.sub("", line)
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
        assert cell_len(text) <= 40
        assert [*COLOUR.findall(line), "\x1b[0m"][-1] == "\x1b[0m"
        assert coloured or text == line


@given(
    st.integers(0, 130), st.integers(0, 30), st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 59), st.text(max_size=200), st.sampled_from(["start", "failed", "success"]))),
)  # fmt: skip
def test_it_is_never_larger_than_the_terminal(
    width: int, height: int, tasks: int, happened: list[tuple[int, str, str]]
) -> None:
    names = [f"{'漢' * (number % 20)}{number}" for number in range(tasks)]
    group = Group(*names)
    running = set()
    for number, text, what in happened:
        name = names[number % tasks]
        if what == "start" and name not in running:
            running.add(name)
            group.start(name)
        elif what != "start" and name in running:
            running.discard(name)
            group.end(name, what, error=text)
        group.print(name, text.encode())
    lines = group.drawn(width, height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    for heap in Heap:  # every row is in the heap that it says, and in no other
        assert all(row.heap is heap for row in group.board.heaps[heap].values())
    assert sum(len(heap) for heap in group.board.heaps) == tasks
    assert sum(group.board.counts.values()) == tasks


def test_a_narrow_terminal_has_marks_alone() -> None:
    group = Group("compile-everything").start("compile-everything", NOW - 2).print("compile-everything", b"10%")
    assert group.drawn(30) == ["▸ compi…hing  2.0 s  10%", "0 of 1 done · 1 running"]


def test_what_failed_is_counted_where_little_has_room() -> None:
    group = Group("a", "b", "c", b=["a"], c=["a"]).tell(Kind.GROUP_STARTED, at=NOW - 2)
    group.start("a").end("a", "failed", exit_code=1)
    for name in "bc":
        group.tell(Kind.TASK_SKIPPED, name, reason="dependency_failed", because_of="a")
    assert group.drawn(50)[-1] == "3 of 3 done · 1 failed · 2 skipped · 2.0 s"
    assert group.drawn(32)[-1] == "3 of 3 done · 1 failed · 2.0 s"
    assert group.drawn(20)[-1] == "3 of 3 done · 2.0 s"


def test_instances_of_a_matrix_are_told_apart_where_their_names_have_no_room() -> None:
    group = Group("check[debian-bookworm-slim,3.12]", "check[debian-bookworm-slim,3.13]")
    assert [line.split("  ")[0] for line in group.drawn(80)[:2]] == [
        "· check[debian-…m-slim,3.12]",
        "· check[debian-…m-slim,3.13]",
    ]
    assert "check[debian-bookworm-slim,3.13]" in group.drawn(120)[1]


def colours(lines: list[str]) -> set[str]:
    return set(COLOUR.findall("".join(lines)))


def test_without_colours_there_is_no_escape_sequence() -> None:
    group = Group("a", "b").start("a").print("a", b"\x1b[31mred").end("a", "failed")
    assert colours(group.drawn(coloured=True)) > {"\x1b[31m"}
    assert "\x1b" not in "".join(group.drawn())


def test_a_clock_that_is_ahead_makes_no_time_negative() -> None:
    group = Group("a").start("a", NOW + 100)
    assert line_of(group, "a").endswith("0.0 s")


def test_where_it_is_not_known_what_waits_for_what_others_are_asked() -> None:
    group = Group("a", "b", "c", "d")
    group.board.edges = None
    group.start("a").start("b")
    assert line_of(group, "c").endswith("for what it depends on")
    assert list(group.board.unexplained()) == ["c", "d"]
    because = tuple(Cause(kind="running", text=f"{name} runs", task=name) for name in ("a", "b"))
    group.board.explain("c", Cause(kind="dependency", text="c waits for a and b", because=because))
    group.board.explain("d", Cause(kind="deciding", text="d is about to be decided"))
    assert line_of(group, "c").endswith("waiting         for a and b")
    assert line_of(group, "d").endswith("waiting")
    assert list(group.board.unexplained()) == []
    group.end("a")
    assert list(group.board.unexplained()) == ["c"]


def test_what_was_over_before_is_known() -> None:
    group = Group("a", "b", "c")
    group.board.know(
        [
            TaskResult(id="g/a", name="a", status=Status.SUCCESS, cached=True),
            TaskResult(id="g/b", name="b", status=Status.FAILED, exit_code=3),
            TaskResult(id="g/c", name="c", status=Status.RUNNING),
        ]
    )
    assert group.drawn()[:-1] == ["✓ a  success", "✗ b  failed   exit code 3", "· c  waiting"]
    assert group.drawn()[-1].endswith("2 of 3 done · 1 failed · 1 waiting")
