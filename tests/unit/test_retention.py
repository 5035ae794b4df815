"""Which of a node's groups that are over go, and which stay, whatever the clock does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from runner import retention
from runner.clock import Moment
from runner.config.service import Retention
from runner.engine.engine import Engine
from runner.engine.guests import Origin
from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.retention import Calendar, Keeper
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.base import Batch
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import Calls, attempt, group, task

DAY = 86_400.0
NO_LIMIT = Retention(age_seconds=0, groups=0, bytes=0)


class Place:
    """A node's store and logs on a day of its own choosing."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(wall=1_000 * DAY, boot=100 * DAY)
        self.store = SqliteStore.open(folder / "state.db", call_soon_threadsafe=Calls().call_soon)
        self.logs = MemoryLogStore()
        executor = ScriptedExecutor(self.clock, lambda id: Script())
        self.engine = Engine(
            store=self.store, clock=self.clock, dispatcher=executor, sealer=Sealer.ephemeral(), max_parallel=1
        )
        self.policy = NO_LIMIT
        self.keep("new", days=0.5)
        self._keeper = self.keeper()

    def keeper(self) -> Keeper:
        return Keeper(lambda: self.policy, engine=self.engine, store=self.store, logs=self.logs, clock=self.clock)

    def keep(self, id: str, *, days: float, status: Status = Status.SUCCESS, printed: int = 0, **more: object) -> None:
        """A group that was accepted and over so many days ago, in another boot of the machine."""
        at = self.clock.now().wall - days * DAY
        row = group(id, accepted=more.pop("accepted", Moment(at, 5.0, "former boot")))
        self.store.accept_group(row, [Event(group=id, number=1, at=at, kind=Kind.GROUP_ACCEPTED)])
        self.store.record(
            Batch(
                groups=[replace(row, status=status, finished_at=at if status.terminal else None)],
                tasks=[task(group=id)],
                attempts=[attempt(group=id)],
            )
        )
        with_log = self.logs.open(AttemptId(id, "t", 1), Masker())
        with_log.write("stdout", b"x" * printed)
        with_log.close()

    async def kept(self, keeper: Keeper | None = None, **policy: float) -> list[str]:
        self.policy = Retention(**{"age_seconds": 0, "groups": 0, "bytes": 0, **policy})  # type: ignore[arg-type]  # by name
        await (keeper or self._keeper).tidy()
        return sorted(row.id for row in self.store.groups().rows)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.store.close()


async def test_what_is_old_goes_with_all_that_belongs_to_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    for id, days in (("a", 29.9), ("b", 30.1), ("c", 400)):
        place.keep(id, days=days, printed=10)
    assert await place.kept() == ["a", "b", "c", "new"]
    with caplog.at_level(logging.INFO, "runner.retention"):
        assert await place.kept(age_seconds=30 * DAY) == ["a", "new"]
    (record,) = caplog.records
    told = {name: vars(record)[name] for name in ("action", "groups", "too_old", "log_bytes")}
    assert told == {"action": "removed", "groups": 2, "too_old": 2, "log_bytes": 20}
    assert place.store.group("b") is None
    assert place.store.events("b") == []
    assert place.logs.read(AttemptId("b", "t", 1), "stdout") == b""
    assert place.logs.read(AttemptId("a", "t", 1), "stdout") == b"x" * 10
    assert (place.store.removed(), place.store.purge(1)) == ([], False)


async def test_of_too_many_the_oldest_go(place: Place) -> None:
    for id, days in (("a", 3), ("b", 1), ("c", 2)):
        place.keep(id, days=days)
    assert await place.kept(groups=4) == ["a", "b", "c", "new"]
    assert await place.kept(groups=2) == ["b", "new"]


async def test_of_too_much_the_oldest_go(place: Place) -> None:
    for id, days in (("a", 3), ("b", 1), ("c", 2)):
        place.keep(id, days=days, printed=1 << 20)
    room = place.store.used_bytes() + (64 << 10)
    assert await place.kept(bytes=room + (3 << 20)) == ["a", "b", "c", "new"]
    assert await place.kept(bytes=room + (1 << 20)) == ["b", "new"]
    assert await place.kept(bytes=1) == []


async def test_what_runs_or_is_watched_or_has_to_be_told_stays(place: Place) -> None:
    place.keep("runs", days=99, status=Status.RUNNING)
    place.keep("watched", days=99)
    place.keep("read", days=99)
    place.keep("told", days=99)
    place.store.record(Batch(notices=["told"]))
    let_go = place.engine.subscribe("watched", lambda: None)
    with place.engine.held("read"):
        assert await place.kept(age_seconds=DAY, groups=1) == ["read", "runs", "told", "watched"]
    let_go()
    place.store.settle("told")
    assert await place.kept(age_seconds=DAY) == ["runs"]


async def test_ids_are_free_again(place: Place) -> None:
    place.keep("a", days=99, printed=10)
    assert await place.kept(age_seconds=DAY) == ["new"]
    place.keep("a", days=0)
    assert await place.kept(age_seconds=DAY) == ["a", "new"]


async def test_logs_that_a_killed_node_was_about_to_remove_go_at_the_next_start(place: Place) -> None:
    place.keep("a", days=9, printed=10)
    place.keep("b", days=9, printed=10)
    assert place.engine.forget("a")
    place.keeper().recover()
    assert place.logs.read(AttemptId("a", "t", 1), "stdout") == b""
    assert place.logs.read(AttemptId("b", "t", 1), "stdout") == b"x" * 10
    assert await place.kept() == ["b", "new"]
    assert place.store.removed() == []


async def test_a_large_group_goes_in_small_pieces(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.keep("large", days=99)
    place.store.record(Batch(tasks=[task(f"t{number}", "large") for number in range(5_000)]))
    asked: list[int] = []
    purge = place.store.purge

    def counted(rows: int) -> bool:
        asked.append(rows)
        return purge(rows)

    monkeypatch.setattr(place.store, "purge", counted)
    assert await place.kept(age_seconds=DAY) == ["new"]
    assert set(asked) == {retention.ROWS_AT_ONCE}
    assert len(asked) > 10


async def test_a_clock_that_was_set_ahead_makes_nothing_old(place: Place) -> None:
    place.keep("a", days=2)
    keeper = place.keeper()
    place.clock._wall_at_boot += 365 * DAY
    assert await place.kept(keeper, age_seconds=30 * DAY) == ["a", "new"]
    place.clock.run_until(place.clock.now().boot + retention.SETTLING_SECONDS - 1)
    assert await place.kept(keeper, age_seconds=30 * DAY) == ["a", "new"]
    place.clock._wall_at_boot -= 365 * DAY
    place.clock.run_until(place.clock.now().boot + 2 * retention.SETTLING_SECONDS)
    assert await place.kept(keeper, age_seconds=30 * DAY) == ["a", "new"]
    place.clock._wall_at_boot += 365 * DAY  # and stays so
    assert await place.kept(keeper, age_seconds=30 * DAY) == ["a", "new"]
    place.clock.run_until(place.clock.now().boot + retention.SETTLING_SECONDS)
    assert await place.kept(keeper, age_seconds=30 * DAY) == []


async def test_a_clock_that_was_wrong_at_the_start_is_believed_later(place: Place) -> None:
    place.clock._wall_at_boot += 365 * DAY
    keeper = place.keeper()
    assert await place.kept(keeper, age_seconds=30 * DAY) == ["new"]
    place.clock.run_until(place.clock.now().boot + retention.SETTLING_SECONDS)
    assert await place.kept(keeper, age_seconds=30 * DAY) == []


async def test_an_end_that_seems_older_than_its_beginning_is_not_old(place: Place) -> None:
    now = place.clock.now()
    place.keep("a", days=99, accepted=Moment(now.wall, now.boot - 60, now.boot_id))
    assert await place.kept(age_seconds=DAY) == ["a", "new"]


def test_a_clock_that_only_drifts_was_not_set() -> None:
    calendar = Calendar(Moment(0.0, 0.0, "b"), None)
    assert not calendar.was_set(Moment(1000.0, 950.0, "b"))
    assert calendar.is_settled(Moment(1000.0, 950.0, "b"))
    assert calendar.was_set(Moment(1000.0, 1061.0, "b"))


async def test_guests_stay_for_a_week_whatever_else_is_too_much(place: Place) -> None:
    """One that is sent again late is known by that, and not run a second time. Others go in their place."""
    origin = Origin(caller="node/o", node="n", name="o")
    old, young = (origin.id(AttemptId(name, "t", 1)) for name in ("old", "young"))
    place.keep(old, days=7.1, printed=1 << 20)
    place.keep(young, days=6.9, printed=1 << 20)
    place.keep("a", days=3)
    place.keep("b", days=1)
    assert await place.kept(groups=5) == ["a", "b", old, young, "new"]
    assert await place.kept(groups=4) == ["a", "b", young, "new"]
    assert await place.kept(groups=2) == [young, "new"]
    assert await place.kept(groups=1) == [young]
    assert await place.kept(bytes=1) == [young]
    assert await place.kept(age_seconds=DAY) == [young]
    place.clock.run_until(place.clock.now().boot + 0.3 * DAY)
    assert await place.kept(groups=1) == [young]
    assert await place.kept(age_seconds=DAY) == []
