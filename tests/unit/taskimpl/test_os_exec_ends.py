"""The driver `os_exec` without processes: how attempts end, and how the next runner finds them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runner.errors import DriverError, RecoverError
from runner.model.result import Status
from runner.model.value import Value
from runner.process.fake import FakeHost
from tests.contract.process_labs import Sink
from tests.os_exec_attempts import KEY, context, driver
from tests.unit.taskimpl.playing import play


def test_success_and_its_outputs(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        handle = await one.start(context(tmp_path, host, {"command": ["ends"], "envs": {"WRITES": "a=1\nb=\n"}}), KEY)
        outcome = await one.wait(handle)
        assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.SUCCESS, 0, None)
        assert outcome.outputs == {"a": Value("1"), "b": Value("")}
        assert outcome.started_at is not None
        assert outcome.finished_at is not None
        assert await one.wait(handle) == outcome, "until it is destroyed, the same can be found again"
        await one.destroy(handle)
        await one.destroy(handle)
        assert list((tmp_path / "temp").iterdir()) == []
        assert await host.list() == ()

    play(scenario)


def test_failure_keeps_its_outputs(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        spec = {"command": ["ends"], "envs": {"WRITES": "a=1\n", "CODE": "3"}}
        outcome = await one.wait(await one.start(context(tmp_path, host, spec), KEY))
        assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.FAILED, 3, None)
        assert outcome.outputs == {"a": Value("1")}

    play(scenario)


def test_malformed_outputs(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        spec = {"command": ["ends"], "envs": {"WRITES": "a=1\nnonsense\n"}}
        outcome = await one.wait(await one.start(context(tmp_path, host, spec), KEY))
        assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.FAILED, 0, "bad_output")
        assert outcome.outputs == {}
        assert outcome.error is not None
        assert "$OUTPUT_FILE" in outcome.error
        assert "2" in outcome.error
        assert str(tmp_path) not in outcome.error

    play(scenario)


def test_stopped(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        log = Sink()
        handle = await one.start(context(tmp_path, host, {"command": ["stays"]}, log=log), KEY)
        await log.until(b"ready")
        await one.stop(handle, 5.0)
        outcome = await one.wait(handle)
        assert (outcome.status, outcome.exit_code, outcome.signal) == (Status.ABORTED, 143, 15)
        assert outcome.kill is not None

    play(scenario)


def test_timeout(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        handle = await one.start(context(tmp_path, host, {"command": ["stays"]}, timeout=0.02), KEY)
        outcome = await one.wait(handle)
        assert (outcome.status, outcome.reason) == (Status.FAILED, "timeout")
        assert (outcome.exit_code, outcome.signal) == (124, 15)
        assert outcome.kill is not None

    play(scenario)


def test_not_found_is_failed_and_survives_the_runner(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        ctx = context(tmp_path, host, {"command": ["no-such-program"]})
        handle = await one.start(ctx, KEY)
        assert b"no-such-program" not in handle, "a handle is stored as it is, and what was rendered may be a secret"
        outcome = await one.wait(handle)
        assert (outcome.status, outcome.exit_code) == (Status.FAILED, 127)
        assert outcome.error is not None
        assert "no-such-program" in outcome.error
        next_runner = driver()
        await next_runner.recover(ctx, handle)
        again = await next_runner.wait(handle)
        assert (again.status, again.exit_code) == (outcome.status, outcome.exit_code)
        assert again.error == "the program was not found"

    play(scenario)


def test_found_again_by_the_next_runner(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        ctx = context(tmp_path, host, {"command": ["ends"], "envs": {"WRITES": "a=1\n"}})
        handle = await driver().start(ctx, KEY)
        next_runner = driver()
        await next_runner.recover(ctx, handle)
        assert (await next_runner.wait(handle)).outputs == {"a": Value("1")}

        without_handle = driver()
        again = await without_handle.start(ctx, KEY)
        assert again == handle
        assert (await without_handle.wait(again)).outputs == {"a": Value("1")}
        assert len(host.spawned) == 1

    play(scenario)


def test_another_life_of_the_host(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        ctx = context(tmp_path, host, {"command": ["stays"]})
        handle = await one.start(ctx, KEY)
        waiting = asyncio.ensure_future(one.wait(handle))
        await asyncio.sleep(0)
        await host.restart()
        with pytest.raises(DriverError) as lost:
            await waiting
        assert lost.value.reason == "supervisor_lost"
        with pytest.raises(RecoverError) as gone:
            await driver().recover(ctx, handle)
        assert gone.value.reason == "supervisor_lost"
        temp = tmp_path / "temp"
        assert list(temp.iterdir()), "what it has exported is still to be masked"
        assert await driver().salvage(str(temp), KEY, "t") == []
        await driver().clear(str(temp), KEY)
        assert list(temp.iterdir()) == []

    play(scenario)


def test_a_forgotten_process(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        ctx = context(tmp_path, host, {"command": ["stays"]})
        handle = await driver().start(ctx, KEY)
        await host.forget(KEY)
        with pytest.raises(RecoverError) as gone:
            await driver().recover(ctx, handle)
        assert gone.value.reason == "driver_lost"

    play(scenario)


def test_a_start_that_was_given_up_is_freed_by_its_key(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        await one.start(context(tmp_path, host, {"command": ["stays"]}), KEY)
        await one.destroy(KEY.encode())
        assert await host.list() == ()
        assert list((tmp_path / "temp").iterdir()) == []

    play(scenario)


def test_signals(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        one = driver()
        handle = await one.start(context(tmp_path, host, {"command": ["stays"]}), KEY)
        await one.signal(handle, "pause")
        await one.signal(handle, "start")
        with pytest.raises(DriverError, match="dance"):
            await one.signal(handle, "dance")
        await one.signal(handle, "destroy")
        outcome = await one.wait(handle)
        assert (outcome.status, outcome.exit_code) == (Status.ABORTED, 137)

    play(scenario)
