"""After the end nothing of an attempt is alive that carries no mark, a made-up one, or those of a runner within it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from runner.process.host import SupervisorHost
from tests import hostile
from tests.contract.process_labs import Sink, program
from tests.integration.test_stop import ROOT, Play, play

__all__ = ["play"]


@pytest.mark.parametrize("containment", ["marker"], indirect=True)
def test_what_carries_no_mark_at_all_ends_with_the_last_attempt(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        other = await host.spawn("other", program(["sleep", "1000"]), Sink())
        sink = Sink()
        escaped = await host.spawn("k", program(hostile.python(hostile.ESCAPES)), sink)
        await sink.until(b"ready ")
        pid = hostile.pid_said(sink.data["stdout"])
        await hostile.until_bare(pid)
        await host.stop("k", 0.0)
        await escaped.wait()
        assert hostile.is_alive(pid), "nobody can know whose it is"
        await host.stop("other", 0.0)
        exit = await other.wait()
        assert not hostile.is_alive(pid)
        assert exit.kill is not None
        assert exit.kill["leftovers"] == 1

    play(tmp_path, scenario)


@pytest.mark.parametrize("containment", ["marker"], indirect=True)
def test_what_carries_no_mark_at_all_ends_with_all_that_is_ended_at_once(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        started = [
            await host.spawn("k", program(hostile.python(hostile.ESCAPES)), sink),
            await host.spawn("other", program(["sleep", "1000"]), Sink()),
        ]
        await sink.until(b"ready ")
        pid = hostile.pid_said(sink.data["stdout"])
        await hostile.until_bare(pid)
        await asyncio.gather(host.stop("k", 0.0), host.stop("other", 0.0))
        kills = [(await process.wait()).kill for process in started]
        assert not hostile.is_alive(pid)
        assert sum(kill["leftovers"] for kill in kills if kill) == 1

    play(tmp_path, scenario)


@pytest.mark.parametrize("kind", hostile.FORGES)
def test_a_mark_that_was_made_up_is_as_good_as_none(play: Play, tmp_path: Path, kind: str) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        code = hostile.FORGES[kind].replace("stay()", "sys.exit(3)")
        exit = await (await host.spawn("k", program(hostile.python(code)), sink)).wait()
        assert b"ready " not in sink.data["stdout"] or not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert hostile.alive(host.incarnation) == []
        assert exit.exit_code == 3
        assert exit.kill is not None
        assert (exit.kill["leftovers"], exit.kill["left"]) == (1, [])

    play(tmp_path, scenario)


INNER = """
import asyncio, os, signal, sys
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program

async def main():
    host = await SupervisorHost.start_private(sys.argv[1])
    process = await host.spawn("k", program(["sleep", "1000"]), Sink())
    if sys.argv[2] == "killed":
        os.kill(host.pid, signal.SIGKILL)
    print("ready", process.started.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("supervisor", ["alive", "killed"])
def test_a_runner_within_a_runner_is_ended_with_what_it_started(play: Play, tmp_path: Path, supervisor: str) -> None:
    """The inner supervisor has left session and environment; what it started carries marks of its own."""

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        argv = [sys.executable, "-c", INNER, str(tmp_path / "inner"), supervisor]
        process = await host.spawn("k", program(argv, cwd=str(ROOT)), sink)
        await sink.until(b"ready ")
        await host.signal("k", "destroy")
        exit = await process.wait()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert hostile.alive(host.incarnation) == []
        assert exit.kill is not None
        assert exit.kill["left"] == []

    play(tmp_path / "outer", scenario)
