"""Every implementation of `runner.store.base.Store`.

One joins by an entry in STORES: a function of a folder of its own and of `call_soon` that gives a store. A store that outlives
its object, i.e. that the same arguments give again, also stands in PERSISTENT.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runner.clock import Timer
from runner.simulator.clock import VirtualClock
from runner.simulator.life import Fate, Life
from runner.simulator.store import CrashingStore, Disk
from runner.store.base import GroupRecord, Store
from runner.store.memory import MemoryStore
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import Calls

Open = Callable[[], Store]


def crashing_store(calls: Calls) -> Store:
    """The simulator's store, with a life that does not end, on a clock whose timers are due at once."""

    class ImpatientClock(VirtualClock):
        def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
            calls.call_soon(callback)
            return super().call_at(boot, lambda: None)

    clock = ImpatientClock()
    return CrashingStore(Disk(clock), clock, Life(Fate(())))


STORES: dict[str, Callable[[Path, Calls], Store]] = {
    "memory": lambda folder, calls: MemoryStore(calls.call_soon),
    "crashing": lambda folder, calls: crashing_store(calls),
    "sqlite": lambda folder, calls: SqliteStore.open(folder / "state.db", call_soon_threadsafe=calls.call_soon),
}
PERSISTENT = ["sqlite"]


def record_of(store: Store, id: str = "g") -> GroupRecord:
    record = store.group(id)
    assert record is not None
    return record
