"""Crashes at a commit: what is kept, what is lost, and that the dead have no say."""

from __future__ import annotations

import pytest

from runner.clock import Moment
from runner.errors import StoreFullError
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.simulator.clock import VirtualClock
from runner.simulator.life import Crash, Fate, Life, LivingClock
from runner.simulator.scenario import SECRET_MARK, CrashAt
from runner.simulator.store import CrashingStore, Disk
from runner.simulator.witness import Witness
from runner.store.base import AttemptRow, Batch, GroupRow, TaskRow

NOW = Moment(1.0, 1.0, "b")


def group(id: str = "g") -> GroupRow:
    return GroupRow(id=id, public_id=id, caller="", name="", digest="", document=b"{}", inputs=b"{}", accepted=NOW)


def task(status: Status = Status.SUCCESS, **others: bytes | str) -> Batch:
    return Batch(tasks=[TaskRow(group="g", name="t", index=0, status=status, **others)])  # type: ignore[arg-type]  # mypy does not look into **


class Machine:
    def __init__(self, *crashes: CrashAt) -> None:
        self.clock = VirtualClock()
        self.disk = Disk(self.clock)
        self.fate = Fate(crashes)
        self.live()

    def live(self) -> None:
        self.life = Life(self.fate)
        self.store = CrashingStore(self.disk, self.clock, self.life)


def test_a_crash_before_a_commit_loses_it() -> None:
    machine = Machine(CrashAt(step=1, after=False))
    machine.store.accept_group(group(), [])
    with pytest.raises(Crash):
        machine.store.record(task())
    machine.live()
    record = machine.store.group("g")
    assert record is not None
    assert list(record.tasks) == []


def test_a_crash_after_a_commit_keeps_it() -> None:
    machine = Machine(CrashAt(step=1, after=True))
    machine.store.accept_group(group(), [])
    with pytest.raises(Crash):
        machine.store.record(task())
    machine.live()
    record = machine.store.group("g")
    assert record is not None
    assert [row.name for row in record.tasks] == ["t"]
    machine.store.record(task(Status.FAILED))


def test_the_dead_write_nothing_and_hear_nothing() -> None:
    machine = Machine(CrashAt(step=1, after=False))
    machine.store.accept_group(group(), [])
    heard: list[object] = []
    clock = LivingClock(machine.clock, machine.life)
    clock.call_soon(lambda: heard.append("soon"))
    clock.call_at(clock.now().boot + 1, lambda: heard.append("timer"))
    machine.store.sync(heard.append)
    with pytest.raises(Crash):
        machine.store.record(task())
    with pytest.raises(Crash, match="dead already"):
        machine.store.record(task())
    with pytest.raises(Crash):
        machine.store.accept_group(group("h"), [])
    machine.clock.run_until_idle()
    assert heard == []
    assert machine.disk.synced == 1
    assert machine.store.group("h") is None


def test_a_batch_that_is_used_again_changes_nothing() -> None:
    """A record is what it was when it was recorded: the disk plays it again after a loss of power."""
    machine = Machine()
    machine.store.accept_group(group(), [])
    batch = Batch(events=[Event(group="g", number=1, at=0.0, kind=Kind.GROUP_STARTED)])
    machine.store.record(batch)
    batch.events.clear()
    machine.store.sync(lambda error: None)
    machine.clock.run_until_idle()
    machine.disk.lose_power()
    assert len(machine.store.events("g")) == 1


@pytest.mark.parametrize(("synced", "kept"), [(True, ["t"]), (False, [])])
def test_a_loss_of_power_goes_back_to_the_last_sync(synced: bool, kept: list[str]) -> None:
    machine = Machine()
    machine.store.accept_group(group(), [])
    machine.store.sync(lambda error: None)
    machine.clock.run_until_idle()
    machine.store.record(task())
    if synced:
        machine.store.sync(lambda error: None)
        machine.clock.run_until_idle()
    machine.disk.lose_power()
    record = machine.disk.store.group("g")
    assert record is not None
    assert [row.name for row in record.tasks] == kept


def test_a_sync_holds_only_what_was_there_when_it_was_asked_for() -> None:
    machine = Machine()
    machine.store.accept_group(group(), [])
    machine.store.sync(lambda error: None)
    machine.store.record(task())
    machine.clock.run_until_idle()
    machine.disk.lose_power()
    record = machine.disk.store.group("g")
    assert record is not None
    assert list(record.tasks) == []


def test_a_full_disk_takes_nothing_and_confirms_nothing() -> None:
    clock = VirtualClock(wall=100.0, boot=0.0)
    disk = Disk(clock, [(100.0, 105.0)])
    store = CrashingStore(disk, clock, Life(Fate(())))
    with pytest.raises(StoreFullError):
        store.accept_group(group(), [])
    answers: list[object] = []
    store.sync(answers.append)
    clock.run_until(5.0)
    assert [type(answer) for answer in answers] == [StoreFullError]
    store.accept_group(group(), [])
    assert list(store.unfinished()) == ["g"]


@pytest.mark.parametrize(
    "batch",
    [
        task(outputs=f'{{"x":"{SECRET_MARK}1"}}'.encode()),
        task(error=f"it said {SECRET_MARK}1"),
        Batch(events=[Event(group="g", number=1, at=0.0, kind=Kind.TASK_EXPORT, fields={"x": f"{SECRET_MARK}1"})]),
        Batch(
            attempts=[
                AttemptRow(
                    group="g", task="t", attempt=1, status=Status.FAILED, runner="", instance="", dispatched=NOW,
                    outcome=SECRET_MARK.encode(),
                )
            ]
        ),
        Batch(
            groups=[
                GroupRow(
                    id="g", public_id="g", caller="", name="", digest="", document=b"{}", inputs=SECRET_MARK.encode(), accepted=NOW
                )
            ]
        ),
    ],
    ids=["outputs", "error", "event", "outcome", "inputs"],
)  # fmt: skip
def test_a_secret_on_the_disk_is_noticed(batch: Batch) -> None:
    witness = Witness(Disk(VirtualClock()), 1)
    witness.committed(batch)
    assert len(witness.complaints) == 1
