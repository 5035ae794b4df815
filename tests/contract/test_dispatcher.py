"""What every Dispatcher does, whoever carries the attempts out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from runner.model.dispatch import AttemptId, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.result import Status
from tests.contract.dispatcher_labs import LABS, Lab

Body = Callable[[Lab], Awaitable[None]]
Try = Callable[[Body], None]


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest) -> Try:
    """Runs a test's body with a lab of every kind."""

    def run(body: Body) -> None:
        async def main() -> None:
            async with LABS[request.param]() as lab:
                await body(lab)

        asyncio.run(main())

    return run


def ended(lab: Lab, id: AttemptId) -> Callable[[], bool]:
    return lambda: any(isinstance(report, Finished) for report in lab.heard_of(id))


def end_of(lab: Lab, id: AttemptId) -> Finished:
    [finished] = [report for report in lab.heard_of(id) if isinstance(report, Finished)]
    return finished


def test_an_attempt_is_reported_from_its_start_to_its_end(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch())
        assert lab.heard == [], "nothing is reported from within a verb"
        await lab.until(ended(lab, id))
        started, finished = lab.heard
        assert isinstance(started, Started)
        assert isinstance(finished, Finished)
        assert (started.sequence, finished.sequence) == (1, 2)
        outcome = finished.outcome
        assert (outcome.status, outcome.exit_code, outcome.started_at) == (Status.SUCCESS, 0, started.at)
        assert outcome.finished_at is not None
        assert outcome.finished_at >= started.at

    lab(body)


def test_it_has_a_name_and_an_instance(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        assert lab.dispatcher.name
        assert lab.dispatcher.instance
        assert lab.dispatcher.instance == lab.dispatcher.instance

    lab(body)


def test_sending_again_attaches(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        dispatch = lab.dispatch("long")
        id = lab.send(dispatch)
        lab.send(dispatch)
        await lab.until(lambda: lab.runs(id))
        lab.send(replace(dispatch, resumed=True), after=1)
        lab.dispatcher.cancel(id, 1.0)
        await lab.until(ended(lab, id))
        await lab.rest()
        assert lab.starts(id) == 1
        assert [report.sequence for report in lab.heard] == sorted({report.sequence for report in lab.heard})

    lab(body)


def test_reports_are_given_again_until_they_are_acknowledged(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch())
        await lab.until(ended(lab, id))

        again: list[Report] = []
        lab.dispatcher.events(id, 0, again.append)
        assert again == []
        await lab.rest()
        assert again == lab.heard

        later: list[Report] = []
        lab.dispatcher.events(id, 1, later.append)
        await lab.rest()
        assert later == lab.heard[1:]
        assert again == lab.heard

        rest: list[Report] = []
        lab.dispatcher.acknowledge(id, 1)
        lab.dispatcher.events(id, 0, rest.append)
        await lab.rest()
        assert rest == lab.heard[1:]

        nothing: list[Report] = []
        lab.dispatcher.acknowledge(id, 2)
        lab.dispatcher.acknowledge(id, 2)
        lab.dispatcher.events(id, 0, nothing.append)
        await lab.rest()
        assert nothing == []

    lab(body)


def test_a_listener_may_come_before_the_attempt(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        dispatch = lab.dispatch()
        lab.dispatcher.events(dispatch.id, 0, lab.heard.append)
        lab.dispatcher.submit(dispatch)
        await lab.until(ended(lab, dispatch.id))
        assert [report.sequence for report in lab.heard] == [1, 2]

    lab(body)


def test_cancel_stops_it(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch("long"))
        await lab.until(lambda: lab.runs(id))
        lab.dispatcher.cancel(id, 1.0)
        lab.dispatcher.cancel(id, 1.0)
        lab.dispatcher.cancel(id, 0.0)
        await lab.until(ended(lab, id))
        assert end_of(lab, id).outcome.status is Status.ABORTED
        assert not lab.runs(id)

    lab(body)


def test_cancel_wins_over_a_later_submit(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        dispatch = lab.dispatch("long")
        lab.dispatcher.cancel(dispatch.id, 1.0)
        id = lab.send(dispatch)
        await lab.until(ended(lab, id))
        [finished] = lab.heard
        assert end_of(lab, id) is finished
        assert (finished.sequence, end_of(lab, id).outcome.status) == (1, Status.ABORTED)
        assert lab.starts(id) == 0

    lab(body)


def test_cancel_behind_the_end_changes_nothing(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch())
        await lab.until(ended(lab, id))
        lab.dispatcher.cancel(id, 0.0)
        await lab.rest()
        assert end_of(lab, id).outcome.status is Status.SUCCESS
        assert len(lab.heard) == 2

    lab(body)


def test_pause_and_start_are_reported(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch("long"))
        await lab.until(lambda: lab.runs(id))
        for signal in ("pause", "start"):
            lab.dispatcher.signal(id, signal)
            await lab.rest()
        kinds = [report.kind for report in lab.heard if isinstance(report, Noticed)]
        assert kinds == [Kind.TASK_PAUSED, Kind.TASK_RESUMED]
        assert [report.sequence for report in lab.heard] == [1, 2, 3]

    lab(body)


def test_a_pause_that_comes_before_the_start_is_obeyed_behind_it(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch("long"))
        lab.dispatcher.signal(id, "pause")
        other = lab.send(lab.dispatch("long-other", paused=True))
        await lab.until(lambda: len(lab.heard_of(id)) == len(lab.heard_of(other)) == 2)
        for one in (id, other):
            started, paused = lab.heard_of(one)
            assert isinstance(started, Started)
            assert isinstance(paused, Noticed)
            assert paused.kind is Kind.TASK_PAUSED

    lab(body)


def test_what_nobody_wants_is_ended_by_reconcile(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        wanted, unwanted = lab.send(lab.dispatch("long-1")), lab.send(lab.dispatch("long-2"))
        await lab.until(lambda: lab.runs(wanted) and lab.runs(unwanted))
        lab.dispatcher.reconcile([wanted])
        await lab.until(lambda: not lab.runs(unwanted))
        await lab.rest()
        assert lab.runs(wanted)
        assert not ended(lab, unwanted)()

    lab(body)


def test_an_attempt_of_another_instance_is_errored_and_not_started(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch("long", instance="another", resumed=True), after=3)
        await lab.until(ended(lab, id))
        finished = end_of(lab, id)
        assert finished.sequence == 4
        assert finished.outcome.status is Status.ERRORED
        assert finished.outcome.reason in ("supervisor_lost", "host_restarted", "runner_lost")
        assert lab.starts(id) == 0

    lab(body)


def test_release_keeps_what_still_runs(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = lab.send(lab.dispatch("long"))
        await lab.until(lambda: lab.runs(id))
        lab.dispatcher.release("g")
        lab.dispatcher.release("g")
        await lab.rest()
        assert lab.runs(id)
        lab.dispatcher.cancel(id, 0.0)
        await lab.until(ended(lab, id))

    lab(body)


def test_verbs_about_what_is_not_known_are_ignored(lab: Try) -> None:
    async def body(lab: Lab) -> None:
        id = AttemptId("g", "nobody", 1)
        lab.dispatcher.acknowledge(id, 7)
        lab.dispatcher.signal(id, "pause")
        lab.dispatcher.events(id, 0, lab.heard.append)
        lab.dispatcher.cancel(id, 1.0)
        lab.dispatcher.release("nothing")
        lab.dispatcher.reconcile([id])
        await lab.rest()
        assert lab.heard == []

    lab(body)
