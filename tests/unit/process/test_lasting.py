"""A process host whose supervisor is killed: seen at once, cleared up, replaced."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ProcessHostError
from runner.process import remains
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from runner.process.supervisor import purge
from runner.process.supervisor.processes import VARIABLE
from tests import apart, hostile
from tests.contract.process_labs import Sink, open_lasting, program


def play(folder: Path, scenario: Callable[[LastingHost], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(120), await open_lasting(folder) as host:
            await scenario(host)

    asyncio.run(main())


def kill(host: LastingHost) -> None:
    assert host.pid is not None
    os.kill(host.pid, signal.SIGKILL)


def test_what_ran_is_lost_and_ended_and_the_next_life_works(tmp_path: Path) -> None:
    async def scenario(host: LastingHost) -> None:
        former, ended = host.incarnation, []
        for name in hostile.PROGRAMS:
            sink = Sink()
            ended.append(await host.spawn(name, program(hostile.command(name)), sink))
            await sink.until(b"ready ")
        kill(host)
        for process in ended:
            with pytest.raises(ProcessHostError, match="ended"):
                await process.wait()
        assert host.incarnation != former
        report = await host.end_former(former)
        assert hostile.alive(former) == []
        assert report is not None
        assert (report["containment"], report["left"]) == ("marker", [])
        assert report["leftovers"] >= len(hostile.PROGRAMS)
        assert await host.end_former(former) is report, "once is enough"
        after = await host.spawn("next", program(["sh", "-c", "exit 4"]), Sink())
        assert (await after.wait()).exit_code == 4
        assert await host.list() == ("next",)

    play(tmp_path, scenario)


@pytest.mark.timeout(150)  # the storm leaves little of the machine to who watches it
def test_loops_of_forks_do_not_outrun_the_look(tmp_path: Path) -> None:
    async def scenario(host: LastingHost) -> None:
        former = host.incarnation
        # Counted alone: a look at each would take a minute in such a storm, which is to be over soon.
        many = len(os.listdir("/proc")) + 150
        for number in range(2):
            sink = Sink()
            process = await host.spawn(f"k{number}", program(hostile.command("forks again and again")), sink)
            await sink.until(b"ready ")
        rises_until = time.monotonic() + 5.0  # others may end meanwhile, and be counted as its
        while len(os.listdir("/proc")) < many and time.monotonic() < rises_until:
            pass
        kill(host)
        with pytest.raises(ProcessHostError):
            await process.wait()
        report = await host.end_former(former)
        assert hostile.alive(former) == []
        assert report is not None
        assert report["left"] == []

    play(tmp_path, scenario)


def test_what_it_has_left_is_looked_for_as_long_as_it_changes_and_then_named(
    tmp_path: Path, require: Callable[[str], None]
) -> None:
    """By a runner that may not signal it, for longer than it would be looked for if nothing changed."""
    require("seccomp")
    life = os.urandom(16).hex()
    numbers = tmp_path / "numbers"

    def work() -> None:
        reports: list[Mapping[str, Any] | None] = []
        ending = threading.Thread(target=lambda: reports.append(remains.end(life)))
        until = time.monotonic() + purge.BOUND_SECONDS + 1.0
        started = []
        while time.monotonic() < until:
            sleeper = subprocess.Popen(["sleep", "1000"], env={"PATH": os.environ["PATH"], VARIABLE: f"{life}/k"})
            started.append(sleeper.pid)
            numbers.write_text(" ".join(map(str, started)))
            if len(started) == 1:
                ending.start()
            with pytest.raises(subprocess.TimeoutExpired):
                sleeper.wait(1.0)
        ending.join()
        (report,) = reports
        assert report is not None
        assert sorted(process["pid"] for process in report["left"]) == sorted(started)
        assert {process["name"] for process in report["left"]} == {"sleep"}
        assert report["leftovers"] == len(started)

    try:
        apart.run(work, apart.without("kill", "pidfd_send_signal", error=errno.EPERM))
    finally:
        for number in numbers.read_text().split():
            os.kill(int(number), signal.SIGKILL)


def test_what_was_written_before_the_supervisor_died_is_kept(tmp_path: Path) -> None:
    async def scenario(host: LastingHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        kill(host)
        with pytest.raises(ProcessHostError):
            await process.wait()
        assert sink.data["stdout"] == b"ready\n"

    play(tmp_path, scenario)


def test_what_is_asked_while_there_is_no_supervisor_waits_for_the_next(tmp_path: Path) -> None:
    async def scenario(host: LastingHost) -> None:
        former = host.incarnation
        kill(host)
        while host.incarnation == former:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        coming = host.incarnation
        assert host.pid is None
        process = await host.spawn("k", program(["true"]), Sink())
        assert (await process.wait()).exit_code == 0
        assert host.incarnation == coming, "what attempts are written down with stays true"

    play(tmp_path, scenario)


def test_it_is_killed_again_and_again(tmp_path: Path) -> None:
    async def scenario(host: LastingHost) -> None:
        lives = set()
        for number in range(5):
            lives.add(host.incarnation)
            process = await host.spawn(f"k{number}", program(["sleep", "1000"]), Sink())
            kill(host)
            with pytest.raises(ProcessHostError):
                await process.wait()
        assert len(lives) == 5
        for life in lives:
            await host.end_former(life)
            assert hostile.alive(life) == []

    play(tmp_path, scenario)


def test_who_hears_first_of_its_end_can_end_what_it_has_left(tmp_path: Path) -> None:
    """An attempt that is being recovered, and whose answer does not come, has its end then, and nobody looks after its
    processes later. (Found by chaos with both killed.)"""

    async def scenario(host: LastingHost) -> None:
        process = await host.spawn("k", program(["sleep", "1000"]), Sink())
        former = host.incarnation

        async def recovers() -> object:
            with pytest.raises(ProcessHostError):
                await host.attach("k", Sink())
            assert host.incarnation != former, "it has taken note first"
            return await host.end_former(former)

        kill(host)
        assert await recovers() is not None
        assert not hostile.is_alive(process.started.pid)

    play(tmp_path, scenario)


def test_who_asks_a_moment_before_its_end_is_told_can_end_what_it_has_left(tmp_path: Path) -> None:
    """Killed both, seed 199: its attempt was over, and what it ran was left to a background that was killed as well."""

    async def main() -> None:
        supervisors: list[SupervisorHost] = []

        async def start(incarnation: str) -> SupervisorHost:
            supervisors.append(
                await SupervisorHost.start_private(tmp_path, incarnation=incarnation, containment="marker")
            )
            return supervisors[-1]

        async with asyncio.timeout(60), await LastingHost.open(start) as host:
            former = host.incarnation
            await host.spawn("k", program(["sleep", "1000"]), Sink())
            kill(host)
            while not supervisors[0].ended:  # noqa: ASYNC110 - each turn of the loop is looked at
                await asyncio.sleep(0)
            assert host.incarnation == former, "it is not told yet"
            report = await host.end_former(former)
            assert report is not None
            assert hostile.alive(former) == []

    asyncio.run(main())


def test_the_present_life_is_never_ended(tmp_path: Path) -> None:
    async def scenario(host: LastingHost) -> None:
        process = await host.spawn("k", program(["sleep", "1000"]), Sink())
        assert await host.end_former(host.incarnation) is None
        assert await host.end_former("") is None
        assert await host.end_former("no incarnation at all") is None
        assert hostile.is_alive(process.started.pid)

    play(tmp_path, scenario)


def test_a_supervisor_that_cannot_be_started_is_tried_again_by_who_asks_next(tmp_path: Path) -> None:
    broken = False

    async def open(incarnation: str) -> SupervisorHost:
        if broken:
            raise ProcessHostError("no disk")
        return await SupervisorHost.start_private(tmp_path, incarnation=incarnation)

    async def main() -> None:
        nonlocal broken
        async with asyncio.timeout(30), await LastingHost.open(open) as host:
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            broken = True
            former = host.incarnation
            kill(host)
            with pytest.raises(ProcessHostError):
                await process.wait()
            with pytest.raises(ProcessHostError, match="no disk"):
                await host.list()
            await host.end_former(former)
            broken = False
            assert await host.list() == ()

    asyncio.run(main())


def test_closing_while_the_next_supervisor_is_being_started(tmp_path: Path) -> None:
    async def main() -> None:
        host = await open_lasting(tmp_path)
        former = host.incarnation
        kill(host)
        while host.incarnation == former:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        await host.aclose()
        assert host.pid is not None
        assert not hostile.is_alive(host.pid)
        await host.aclose()

    asyncio.run(main())


def test_one_that_was_taken_over_is_not_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def open(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.connect(tmp_path, idle_seconds=0.0, incarnation=incarnation)

        async with asyncio.timeout(30), await LastingHost.open(open) as first:
            process = await first.spawn("k", program(["sleep", "1000"]), Sink())
            async with await SupervisorHost.connect(tmp_path) as second:
                with pytest.raises(ProcessHostError, match="another runner"):
                    await process.wait()
                assert first.incarnation == second.incarnation
                with pytest.raises(ProcessHostError, match="another runner"):
                    await first.list()
                assert await second.list() == ("k",)
                assert "no task can be run until it is started again: another runner" in caplog.text
                os.kill(second.pid, signal.SIGTERM)

    asyncio.run(main())


def test_who_leaves_for_a_supervisor_that_lives_on_leaves_before_anybody_hears_of_it(tmp_path: Path) -> None:
    heard: list[str] = []

    async def main() -> None:
        async def open(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.connect(tmp_path, incarnation=incarnation)

        async with asyncio.timeout(30), await LastingHost.open(open, lambda error: heard.append("left")) as first:
            process = await first.spawn("k", program(["sleep", "1000"]), Sink())
            async with await SupervisorHost.connect(tmp_path) as second:
                with pytest.raises(ProcessHostError):
                    await process.wait()
                assert heard == ["left"]
                os.kill(second.pid, signal.SIGTERM)

    asyncio.run(main())


def test_a_private_supervisor_that_is_not_understood_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(host: LastingHost) -> None:
        former = host.incarnation
        process = await host.spawn("k", program(["sleep", "1000"]), Sink())
        lowest = os.open("/dev/null", os.O_RDONLY)
        os.close(lowest)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))  # no descriptor can arrive
        try:
            with pytest.raises(ProcessHostError, match="too many open files"):
                await (await host.spawn("prints", program(["sh", "-c", "echo out; sleep 1000"]), Sink())).wait()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        with pytest.raises(ProcessHostError, match="too many open files"):
            await process.wait()
        await host.end_former(former)
        assert hostile.alive(former) == []
        assert (await (await host.spawn("next", program(["true"]), Sink())).wait()).exit_code == 0
        assert "too many open files to take part in its tasks' output; another is started" in caplog.text

    play(tmp_path, scenario)


def test_a_shared_supervisor_takes_the_incarnation_that_it_is_given(tmp_path: Path) -> None:
    async def main() -> None:
        async def open(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.connect(tmp_path, incarnation=incarnation)

        async with asyncio.timeout(30), await LastingHost.open(open) as host:
            former = host.incarnation
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            kill(host)
            with pytest.raises(ProcessHostError):
                await process.wait()
            coming = host.incarnation
            assert await host.list() == ()
            assert host.incarnation == coming
            await host.end_former(former)
            assert not hostile.is_alive(process.started.pid)
            assert host.pid is not None
            os.kill(host.pid, signal.SIGTERM)

    asyncio.run(main())
