"""What is told of groups that a store holds, and how much of the store is looked at for that."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from runner.clock import Moment
from runner.engine import explaining
from runner.engine.document import Document
from runner.engine.facts import AHEAD, MOST_LOOKED_AT, Live
from runner.engine.graph import build
from runner.model.explanation import Cause
from runner.model.group import TaskGroup
from runner.model.peer import PeerState
from runner.model.result import Abort, Skip, Status, Waiting
from runner.model.task import Export, Forward, Import, Task, When
from runner.store.base import Batch, GroupRow, TaskRow
from runner.store.memory import MemoryStore

NOW = 100.0


class Watched(MemoryStore):
    """Counts the rows that are asked for, and how often."""

    def __init__(self) -> None:
        super().__init__(lambda callback: callback())
        self.asked = self.calls = 0

    def tasks(self, group: str, names: Sequence[str]) -> Sequence[TaskRow]:
        self.asked += len(names)
        self.calls += 1
        return super().tasks(group, names)


class Told:
    """A group that runs, with these rows of tasks."""

    def __init__(
        self, tasks: Sequence[Task], *rows: TaskRow, status: Status = Status.RUNNING, held: bool = True
    ) -> None:
        group = TaskGroup(name="g", tasks=tuple(tasks))
        self.document = Document(group, build(group.tasks), 0)
        self.store = Watched()
        moment = Moment(wall=0.0, boot=0.0, boot_id="b")
        row = GroupRow(
            id="g", public_id="g", caller="", name="g", digest="", task_count=len(tasks), document=b"", inputs=b"", accepted=moment
        )  # fmt: skip
        self.store.accept_group(row, [])
        self.row = replace(row, status=status, started_at=90.0)
        self.store.record(Batch(groups=[self.row], tasks=list(rows)))
        self.live = Live(held=held)

    def task(self, name: str) -> Cause:
        return explaining.of_task(self.store, self.row, self.document, self.live, NOW, name).cause

    def group(self) -> Cause:
        return explaining.of_group(self.store, self.row, self.document, self.live, NOW).cause


def task(name: str, *before: str, **more: Any) -> Task:
    return Task(name=name, type="scripted", depends_on=before, **more)


def row(tasks: Sequence[Task], name: str, status: Status, **more: Any) -> TaskRow:
    return TaskRow(group="g", name=name, index=[each.name for each in tasks].index(name), status=status, **more)


def texts(cause: Cause) -> list[str]:
    return [cause.text, *(text for each in cause.because for text in texts(each))]


def test_a_long_chain_is_followed_to_its_end_with_few_questions() -> None:
    length = MOST_LOOKED_AT // 2 - 100
    tasks = [task("t0"), *(task(f"t{number}", f"t{number - 1}") for number in range(1, length))]
    told = Told(tasks, row(tasks, "t0", Status.RUNNING, started_at=97.0))
    assert texts(told.task(tasks[-1].name))[-1] == "t0 runs"
    assert told.store.calls < length // AHEAD + 50


def test_a_task_of_very_many_dependencies_is_not_looked_through() -> None:
    names = [f"t{number}" for number in range(3 * MOST_LOOKED_AT)]
    tasks = [*map(task, names), task("end", *names), task("after", "end"), task("help", "end", when=When.FAILURE)]
    over = [TaskRow(group="g", name=name, index=index, status=Status.SUCCESS) for index, name in enumerate(names[:-1])]
    told = Told(tasks, *over, row(tasks, "help", Status.RUNNING))
    unknown = f"{2 * MOST_LOOKED_AT + 1:,}"
    assert told.task("end").text == f"end waits for some of {unknown} tasks, too many to be looked at"
    assert [cause.text.split(" of ")[0] for cause in told.task("after").because] == ["end waits for some"]
    assert told.task("help").text == "help runs"
    assert told.store.asked < 4 * MOST_LOOKED_AT
    some = Told(tasks, *over[1:])
    [first] = some.task("end").because
    assert first.text == "t0 waits for a slot"
    assert some.task("end").text.startswith("end waits for t0, and perhaps for some of ")


def test_many_chains_are_worth_no_more_than_one() -> None:
    tasks = [task("t0")]
    heads = []
    for chain in range(100):
        names = [f"c{chain}_{number}" for number in range(500)]
        tasks += [task(name, before) for before, name in pairwise(["t0", *reversed(names)])]
        heads.append(names[0])
    levels = [f"n{level}" for level in range(10)]
    tasks += [
        task(name, *heads[10 * level : 10 * level + 10], *levels[:level][-1:]) for level, name in enumerate(levels)
    ]
    told = Told(tasks, row(tasks, "t0", Status.RUNNING))
    assert told.task("n9").text.startswith("n9 waits for ")
    assert told.store.asked < MOST_LOOKED_AT + 1000


def test_of_what_nobody_carries_out_nothing_is_said_to_run() -> None:
    tasks = [task("a"), task("b", "a"), task("c", "b")]
    told = Told(tasks, row(tasks, "a", Status.RUNNING, started_at=95.0, attempt=1), held=False)
    lines = texts(told.task("c"))
    assert [lines[0], *lines[2:]] == ["c waits for b", "b waits for a", "a had begun and not ended"]
    assert lines[1].startswith("nothing carries it out any more")
    lines = texts(told.group())
    assert [lines[0], *lines[2:]] == ["the group g had begun and not ended", "a had begun and not ended"]


def test_a_default_is_not_said_to_be_missing_where_there_is_one() -> None:
    def told(*exports: Export) -> str:
        wanted = tuple(Import(task="a", variable=export.name) for export in exports)
        tasks = [task("a", exports=exports), task("b", imports=wanted)]
        failed = row(tasks, "a", Status.FAILED, reason="timeout")
        return Told(tasks, failed, row(tasks, "b", Status.SKIPPED, reason=Skip.NO_DATA, because_of="a")).task("b").text

    assert told(Export(name="x"), Export(name="y", default="1")).endswith("gave no value, and there is no default")
    assert "a default would count only where" in told(Export(name="x", default=""))
    assert told(Export(name="x", confidential=True)).endswith("`x` of a, which gave no value")


def test_what_is_only_counted_is_counted_in_good_english() -> None:
    names = [f"t{number}" for number in range(36)]
    tasks = [task(name) for name in names]
    statuses = [Status.RUNNING] * 11 + [Status.FAILED] * 10 + [Status.ERRORED] * 2 + [Status.ABORTED] * 12
    rows = [row(tasks, name, status, reason="cancelled") for name, status in zip(names, statuses, strict=False)]
    rows.append(row(tasks, "t35", Status.SKIPPED, reason=Skip.GROUP_ABORTED))
    told = Told(tasks, *rows)
    told.row = replace(told.row, abort=Abort.CANCELLED.value, abort_count=1)
    first, *lines = [cause.text for cause in told.group().because]
    assert first == "a caller cancelled the group"
    assert lines[10] == "1 more task runs"
    assert lines[21:] == [
        "2 more tasks did not succeed",
        "12 tasks were aborted: t23, t24, t25, t26, t27 and 7 more",
        "1 task was skipped: t35",
    ]


def test_what_keeps_a_runner_away_is_told_to_who_may_know_it() -> None:
    def peer(name: str, trouble: str, *, there: bool = False) -> PeerState:
        return PeerState(name=name, there=there, since=90.0, trouble=trouble)

    def told(forward: Forward, *peers: PeerState) -> list[str]:
        row = TaskRow(group="g", name="far", index=0, status=Status.PENDING, waiting=Waiting.PEER_UNREACHABLE)
        group = Told([Task(name="far", type="t", forward=forward)], row)
        group.live = replace(group.live, why=lambda index: "onprem is away", peers={peer.name: peer for peer in peers})
        cause = group.task("far")
        assert cause.text == "far waits for a runner: onprem is away"
        return [each.text for each in cause.because]

    others = [peer("onprem", "refused"), peer("edge", "silent"), peer("near", "", there=True)]
    assert told(Forward(to="onprem"), *others) == ["onprem is away: refused"]
    assert told(Forward(to="onprem/inner"), *others) == ["onprem is away: refused"]
    assert told(Forward(labels={"site": "eu"}), *others) == ["onprem is away: refused", "edge is away: silent"]
    assert told(Forward(to="{{ .inputs.where }}"), *others) == ["onprem is away: refused", "edge is away: silent"]
    assert told(Forward(to="onprem"), peer("onprem", "")) == [], "who may not know gets no trouble"
