"""Cancels and signals of an origin, whenever they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import Status
from runner.model.session import Cancel, Loaded, Printed, Signal
from tests.integration.peering.meeting import met
from tests.peers import ID, submit, talking, word
from tests.rpc import desk

pytestmark = pytest.mark.timeout(90)


async def test_cancelled_before_it_came_it_is_not_started(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(submit(instance, f"touch {tmp_path}/ran", cancel_grace=10.0))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason, outcome.started_at) == (Status.ABORTED, "cancelled", None)
        assert outcome.finished_at is not None
        assert talk.told(ID) == ["finished"]
        await talk.say(submit(instance, f"touch {tmp_path}/ran"))
        assert (await talk.outcome(ID)).status is Status.ABORTED
        assert not (tmp_path / "ran").exists()


async def test_cancelled_while_it_runs(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(submit(instance, "trap '' TERM; echo ready; while :; do sleep 0.05; done"))
        await talk.until(lambda said: isinstance(said, Printed))
        await talk.say(Cancel(id=ID, grace=10.0))
        await talk.say(Cancel(id=ID, grace=10.0))  # says what is wanted, not once more
        await talk.say(Cancel(id=ID, grace=0.5))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason) == (Status.ABORTED, "cancelled")
        assert talk.noticed(ID, Kind.KILL_REPORT)[0]["signals"][-1][0] == "SIGKILL"


async def test_how_one_has_ended_that_was_not_heard_is_told_to_who_cancels_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, f"echo much; touch {tmp_path}/ran; exit 3"))
            await talk.outcome(ID)
        async with talking(at.channel) as talk:
            await talk.hello()
            await talk.say(Cancel(id=ID, grace=10.0))
            assert (await talk.outcome(ID)).exit_code == 3
            assert talk.told(ID) == ["finished"]
            await talk.say(Cancel(id=AttemptId("nobody", "t", 1), grace=1.0))
            assert (await talk.refused()).message == "it is not known here"


async def test_cancelled_while_it_waits_for_a_slot(tmp_path: Path) -> None:
    waiting = AttemptId("g", "waits", 1)
    async with met(tmp_path, max_parallel=1) as (_, talk, instance):
        await talk.say(submit(instance, "exec sleep 60"))
        await talk.started(ID)
        await talk.say(submit(instance, f"touch {tmp_path}/ran", id=waiting))
        load = await talk.until(lambda said: isinstance(said, Loaded) and said.load.waiting == 1)
        assert isinstance(load, Loaded)
        assert (load.load.slots, load.load.taken) == (1, 1)
        await talk.say(Cancel(id=waiting, grace=10.0))
        assert (await talk.outcome(waiting)).status is Status.ABORTED
        await talk.say(Cancel(id=ID, grace=10.0))
        assert (await talk.outcome(ID)).status is Status.ABORTED
        await talk.say(Cancel(id=AttemptId("nobody", "t", 1), grace=1.0))  # of which nothing is known
        assert not (tmp_path / "ran").exists()


async def test_it_is_paused_and_goes_on(tmp_path: Path) -> None:
    script = "echo ready; while [ ! -e go ]; do sleep 0.02; done"
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script))
            await talk.until(lambda said: isinstance(said, Printed))
            await talk.say(Signal(id=ID, signal="pause"))
            await talk.until(lambda said: word(said) == "task_paused")
        async with talking(at.channel) as talk:
            await talk.hello(live=(ID,))
            await talk.say(submit(instance, script, paused=False))  # by now it is to go on
            await talk.until(lambda said: word(said) == "task_resumed")
            await talk.say(Signal(id=ID, signal="destroy"))
            outcome = await talk.outcome(ID)
            assert (outcome.status, outcome.exit_code) == (Status.ABORTED, 137)
            assert talk.told(ID).count("task_paused") == talk.told(ID).count("task_resumed") == 1


async def test_signals_that_come_before_its_start_are_obeyed_behind_it(tmp_path: Path) -> None:
    paused, destroyed = AttemptId("g", "paused", 1), AttemptId("g", "destroyed", 1)
    async with met(tmp_path, max_parallel=1) as (_, talk, instance):
        await talk.say(submit(instance, "exec sleep 60"))
        await talk.started(ID)
        await talk.say(submit(instance, "exec sleep 60", id=destroyed))
        await talk.say(submit(instance, "exec sleep 60", id=paused, paused=True))
        await talk.say(Signal(id=destroyed, signal="destroy"))
        await talk.say(Signal(id=destroyed, signal="start"))
        await talk.say(Cancel(id=ID, grace=1.0))
        assert (await talk.outcome(destroyed)).exit_code == 137
        await talk.until(lambda said: word(said) == "task_paused")
        await talk.say(Cancel(id=paused, grace=1.0))
        assert (await talk.outcome(paused)).status is Status.ABORTED
