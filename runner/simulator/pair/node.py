"""What both runners of a pair have in common: a machine, a disk, and an engine that is killed and begun again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from runner.engine.engine import Engine
from runner.logs.memory import MemoryLogStore
from runner.model.result import Reason
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.life import Fate, Life, LivingClock, LivingDispatcher
from runner.simulator.pair.faults import Restore, Span
from runner.simulator.pair.machine import Machine
from runner.simulator.scenario import CrashAt
from runner.simulator.store import CrashingStore, Disk
from runner.simulator.witness import Witness
from runner.store.base import Batch


class Node(ABC):
    def __init__(
        self, name: str, clock: VirtualClock, crashes: Sequence[CrashAt], full: Sequence[Span], slots: int
    ) -> None:
        self.name = name
        self.machine = Machine(clock, name)
        wall = clock.now().wall
        self.disk = Disk(self.machine, [(wall + start, wall + end) for start, end in full])
        self.logs = MemoryLogStore(now=lambda: clock.now().wall, call_soon=self.machine.call_soon)
        self.witness = Witness(self.disk, slots)
        self.fate = Fate(crashes)
        self.life = Life(self.fate)
        self.life.alive = False
        self.is_down = True
        self.crashes = 0
        self.boots = 1
        self._lives: list[tuple[str, bool]] = []
        """What was begun anew with its machine, and whether from a backup."""
        self.slots = slots
        self.engine: Engine | None = None
        self.restored = False
        """What was not over is to be ended, until that is safe."""
        self._clock = clock

    def begin(self) -> None:
        """The next life. Raises Crash."""
        self.is_down = False
        self.life = life = Life(self.fate)
        self.witness.new_life()
        clock = LivingClock(self.machine, life)
        store = CrashingStore(self.disk, self.machine, life, self._committed)
        self.engine = self._make(clock, store)
        self.engine.recover()
        if self.restored:  # see `runner.backup`
            for id in self.disk.store.unfinished():
                self.engine.cancel_once(id, at_once=True)
            self.engine.when_durable(self._ended_all)
        self._begun(clock)

    def died(self) -> None:
        """Its process is gone; with its machine, where that was the fault."""
        self.is_down = True
        self.crashes += 1
        self.engine = None
        crash = self.fate.struck
        assert crash is not None, "a crash is always one that was planned"
        self._ended()
        if crash.power_loss or isinstance(crash, Restore):
            self.boots += 1
            self.machine.reboot()
            if isinstance(crash, Restore):
                self.disk.go_back(int(crash.kept * len(self.disk.writes)))
                self.restored = True
            else:
                self.disk.lose_power()
            instance = f"{self.name}-supervisor-{self.boots}"
            self._lives.append((instance, isinstance(crash, Restore)))
            self.runs.restart(instance, Reason.HOST_RESTARTED)
            self._lost(self.witness.power_lost(), restored=isinstance(crash, Restore))
        self._clock.call_at(self._clock.now().boot + crash.downtime, self.begin)

    def is_restored_between(self, before: str, after: str) -> bool:
        """Whether a backup was restored behind the one life of what runs here, and up to the other."""
        names = [name for name, _ in self._lives]
        begin = names.index(before) + 1 if before in names else 0
        return any(restored for _, restored in self._lives[begin : names.index(after) + 1])

    @property
    @abstractmethod
    def runs(self) -> ScriptedExecutor:
        """What carries out what runs here."""

    @abstractmethod
    def _make(self, clock: LivingClock, store: CrashingStore) -> Engine: ...

    @abstractmethod
    def _begun(self, clock: LivingClock) -> None: ...

    @abstractmethod
    def _ended(self) -> None: ...

    @abstractmethod
    def _lost(self, interrupted: frozenset[object], *, restored: bool) -> None: ...

    def _here(self) -> LivingDispatcher:
        witness = self.witness
        return LivingDispatcher(self.runs, self.life, witness.submitting, witness.cancelling, lambda id, signal: None)

    def _committed(self, batch: Batch) -> None:
        self.witness.committed(batch)

    def _ended_all(self, error: Exception | None) -> None:
        if error is None:
            self.restored = False
