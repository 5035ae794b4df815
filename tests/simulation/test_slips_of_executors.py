"""Executors with one slip each: the simulator must notice every one of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from runner.dispatch.base import Sink
from runner.model.dispatch import AttemptId, Dispatch, Finished, Report
from runner.simulator.scenario import CrashAt, Faults
from runner.simulator.seeds import play
from runner.simulator.world import Engines
from tests.simulation.scenes import SCENES
from tests.simulation.slips import NoCancel, PassingDispatcher, assert_noticed, dispatching, tasks_recorded, verdict_of


class NoAcknowledgement(PassingDispatcher):
    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        pass


class TwoStarts(PassingDispatcher):
    """Lets the executor forget an attempt that runs, and sends it again."""

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        def meddle(report: Report) -> None:
            if report.sequence == 1 and not isinstance(report, Finished):
                self.reconcile([])
                self.submit(self.sent)
                self.inner.events(id, 1, sink)
            sink(report)

        super().events(id, after, meddle)

    def submit(self, dispatch: Dispatch) -> None:
        self.sent = dispatch
        super().submit(dispatch)


class NoPause(PassingDispatcher):
    def signal(self, id: AttemptId, signal: str) -> None:
        pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (dispatching(NoPause), "s off"),
        (tasks_recorded(lambda row: replace(row, waiting=None) if row.waiting == "paused" else row), "waits for None"),
        (
            tasks_recorded(lambda row: replace(row, waiting="paused") if row.status == "running" else row),
            "waits for paused",
        ),
    ],
)
def test_a_slip_about_signals(make: Engines, words: str) -> None:
    assert_noticed(verdict_of("paused, and its time stands still", make), words)


def test_a_dispatch_that_is_not_what_was_written_down_about_its_pause_is_noticed() -> None:
    class Undoes(PassingDispatcher):
        def submit(self, dispatch: Dispatch) -> None:
            self.inner.submit(replace(dispatch, paused=not dispatch.paused))

    name = "paused, and its time stands still"
    assert_noticed(verdict_of(name, dispatching(Undoes)), "was dispatched with paused=True, recorded is False")


class NoRelease(PassingDispatcher):
    def release(self, group: str) -> None:
        pass


class AlwaysNew(PassingDispatcher):
    def submit(self, dispatch: Dispatch) -> None:
        super().submit(replace(dispatch, resumed=False))


class NoHandle(PassingDispatcher):
    def submit(self, dispatch: Dispatch) -> None:
        super().submit(replace(dispatch, handle=None))


class OtherContent(PassingDispatcher):
    def submit(self, dispatch: Dispatch) -> None:
        super().submit(replace(dispatch, workspace="/elsewhere") if dispatch.resumed else dispatch)


@pytest.mark.parametrize(
    ("wrapper", "name", "crashes", "words"),
    [
        (NoAcknowledgement, "one task", [], "its end never acknowledged"),
        (NoCancel, "cancelled", [], "g/a: "),
        (NoRelease, "one task", [], "released were []"),
        (AlwaysNew, "one task", [CrashAt(step=3)], "resumed=False"),
        (NoHandle, "one task", [CrashAt(step=6)], "with the handle None"),
        (TwoStarts, "one task", [], "g/a/1 was started 2 times"),
        (OtherContent, "one task", [CrashAt(step=3)], "g/a/1 was submitted again with different content"),
    ],
)
def test_a_dispatcher_that_slips(
    wrapper: type[PassingDispatcher], name: str, crashes: list[CrashAt], words: str
) -> None:
    assert_noticed(verdict_of(name, dispatching(wrapper), *crashes), words)


def test_an_acknowledgement_before_the_disk_has_it() -> None:
    class Hasty(PassingDispatcher):
        def events(self, id: AttemptId, after: int, sink: Sink) -> None:
            def eager(report: Report) -> None:
                sink(report)
                if isinstance(report, Finished):
                    self.acknowledge(id, report.sequence)

            super().events(id, after, eager)

    scene = SCENES["a chain whose first fails"].scenario
    steps = play(scene, Faults(), dispatching(Hasty)).played.steps
    noticed = [
        difference
        for step in range(steps)
        for difference in play(
            scene, Faults(crashes=(CrashAt(step=step, power_loss=True),)), dispatching(Hasty)
        ).differences
    ]
    assert any("the acknowledged end of g/a/1" in difference for difference in noticed), noticed
