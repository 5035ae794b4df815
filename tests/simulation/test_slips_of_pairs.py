"""Origins and executors with one slip each: what watches over two runners must notice every one of them."""

from __future__ import annotations

from typing import Any

import pytest

from runner.dispatch.remote import RemoteDispatcher
from runner.engine.engine import Engine
from runner.engine.guests import Origin
from runner.model.dispatch import AttemptId
from runner.model.session import Afresh, FromExecutor, Printed
from runner.simulator.life import LivingClock
from runner.simulator.pair.executor import ORIGIN, Executor
from runner.simulator.pair.faults import THERE, PairFaults, Restore
from runner.simulator.pair.line import Session
from runner.simulator.pair.seeds import play_pair
from runner.simulator.scenario import CrashAt
from runner.simulator.store import CrashingStore
from tests.simulation.scenes import Scene
from tests.simulation.test_pairs import CANCELLED, LOST, NEVER_THERE, UNHEARD, WORK


class Stubborn(RemoteDispatcher):
    """Counts on what it has given up, and sends it again."""

    def _lose(self) -> None:
        super()._lose()
        for handed in self._handed.values():
            handed.is_over, handed.cancel_grace = False, None

    def cancel(self, id: AttemptId, grace: float) -> None:
        pass


class Deaf(RemoteDispatcher):
    """Passes no cancel on."""

    def cancel(self, id: AttemptId, grace: float) -> None:
        pass


class Forgetful(RemoteDispatcher):
    """Does not remember a cancel of what it was not given yet."""

    def cancel(self, id: AttemptId, grace: float) -> None:
        if id in self._handed:
            super().cancel(id, grace)


class Hasty(RemoteDispatcher):
    """Gives up at once."""

    def disconnected(self, why: str) -> None:
        super().disconnected(why)
        self._lose()


class Tearing(RemoteDispatcher):
    """Keeps half of what is printed."""

    def heard(self, message: FromExecutor) -> None:
        if not isinstance(message, Printed | Afresh) or (isinstance(message, Printed) and message.stream == "stdout"):
            super().heard(message)


class Confused(Executor):
    """Does not know in a new session who its origin was in the last one."""

    def answer(self, session: Session, first: Any) -> None:
        first.hello.node = f"{first.hello.node}-{self._line().messages[THERE]}"
        other = Origin(caller=ORIGIN.caller, node=first.hello.node, name=ORIGIN.name)
        for id in list(self.guests.values()):
            self.guests[AttemptId(other.id(id), id.task, 1)] = id
        super().answer(session, first)


class Inattentive(Executor):
    """Does not hear what it is told to end."""

    def answer(self, session: Session, first: Any) -> None:
        super().answer(session, first)
        deliver = session.there.deliver
        session.there.deliver = lambda said: (
            None if said.WhichOneof("message") in ("cancel", "release") else deliver(said)
        )


class Resurrected(Executor):
    """Says after a restore that it is who it was."""

    def _lost(self, interrupted: frozenset[Any], *, restored: bool) -> None:
        self.restored = False


class Careless(Executor):
    """Its disk says that all is safe, and it is not."""

    def _make(self, clock: LivingClock, store: CrashingStore) -> Engine:
        store.sync = lambda done: done(None)  # type: ignore[method-assign] # that is the slip
        return super()._make(clock, store)


def told(
    scene: Scene,
    faults: PairFaults,
    remote: type[RemoteDispatcher] = RemoteDispatcher,
    executor: type[Executor] = Executor,
) -> str:
    return "\n".join(play_pair(scene.scenario, faults, remote=remote, executor=executor).differences)


SILENT = PairFaults(outages=((3.0, 63.0),))


@pytest.mark.parametrize(
    ("remote", "scene", "faults", "words"),
    [
        (Stubborn, LOST, SILENT, "was sent to another machine, to be started there, after its end was recorded"),
        (Deaf, CANCELLED, PairFaults(), "g/a/1: was given up, and could have said for 20.000 s that it stopped"),
        (Hasty, WORK, PairFaults(outages=((1.0, 1.2),)), "was given up, and its runner was not silent for so long"),
        (Tearing, WORK, PairFaults(), "its log here is"),
    ],
)
def test_a_slip_of_an_origin(remote: type[RemoteDispatcher], scene: Scene, faults: PairFaults, words: str) -> None:
    assert words in told(scene, faults, remote=remote)


def test_an_origin_that_forgets_a_cancel() -> None:
    steps = play_pair(UNHEARD.scenario, NEVER_THERE).played.node.fate.steps
    noticed = [
        told(UNHEARD, PairFaults(cuts=NEVER_THERE.cuts, origin=(CrashAt(step=step),)), remote=Forgetful)
        for step in range(steps)
    ]
    assert any("g/a/1 was sent to another machine, to be started there, after its end" in text for text in noticed)


@pytest.mark.parametrize(
    ("executor", "scene", "faults", "words"),
    [
        (Confused, WORK, PairFaults(outages=((1.0, 1.2),)), "g/a/1 was started 2 times by"),
        (Inattentive, CANCELLED, PairFaults(), "g/a/1 is not over there, and its group is"),
    ],
)
def test_a_slip_of_an_executor(executor: type[Executor], scene: Scene, faults: PairFaults, words: str) -> None:
    assert words in told(scene, faults, executor=executor)


def test_an_executor_that_says_after_a_restore_that_it_is_who_it_was() -> None:
    steps = play_pair(WORK.scenario).played.executor.fate.steps
    noticed = [
        told(WORK, PairFaults(executor=(Restore(step=step, kept=0.0),)), executor=Resurrected) for step in range(steps)
    ]
    assert any("after that had been restored from a backup" in text for text in noticed), noticed


@pytest.mark.parametrize("words", ["had been told", "its end was told, and is not known there any more"])
def test_an_executor_that_tells_what_a_loss_of_power_undoes(words: str) -> None:
    steps = play_pair(WORK.scenario).played.executor.fate.steps
    noticed = [
        told(WORK, PairFaults(executor=(CrashAt(step=step, power_loss=True),), latency=0.0001), executor=Careless)
        for step in range(steps)
    ]
    assert any(words in text for text in noticed), noticed
