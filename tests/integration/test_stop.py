"""After the end nothing of an attempt is alive, on real processes that try to stay."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from drivers.base import ProcessExit
from runner.process.host import SupervisorHost
from runner.process.launch import Containment
from runner.process.supervisor import processes
from tests import apart, hostile
from tests.contract.process_labs import Sink, program

ROOT = Path(__file__).parents[2]
Ending = Callable[[SupervisorHost], Awaitable[None]]
Scenario = Callable[[SupervisorHost], Awaitable[None]]
Play = Callable[[Path, Scenario], None]


async def _stop(host: SupervisorHost) -> None:
    await host.stop("k", 0.1)


async def _stop_twice(host: SupervisorHost) -> None:
    await host.stop("k", 1000.0)
    await host.stop("k", 0.0)


async def _destroy(host: SupervisorHost) -> None:
    await host.signal("k", "destroy")


async def _nothing(host: SupervisorHost) -> None:
    """Its deadline strikes by itself."""


ENDINGS: dict[str, Ending] = {"stop": _stop, "second stop": _stop_twice, "destroy": _destroy, "timeout": _nothing}


@pytest.fixture
def play(containment: Containment) -> Play:
    """Plays a scenario on a supervisor that keeps its state in a folder; under every containment."""

    def play(folder: Path, scenario: Scenario) -> None:
        async def main() -> None:
            async with (
                asyncio.timeout(30),
                await SupervisorHost.start_private(folder, containment=containment) as host,
            ):
                assert host.containment.startswith(containment)
                await scenario(host)
            assert hostile.rooms(host.incarnation) == []

        asyncio.run(main())

    return play


async def ended(host: SupervisorHost, name: str, ending: Ending) -> tuple[ProcessExit, int]:
    """The end of a hostile program, and the number of the process that it said must not live on."""
    sink = Sink()
    timeout = 0.5 if ending is _nothing else None
    process = await host.spawn("k", program(hostile.command(name), timeout=timeout, grace=0.1), sink)
    await sink.until(b"ready ")
    await ending(host)
    return await process.wait(), hostile.pid_said(sink.data["stdout"])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", hostile.PROGRAMS)
def test_nothing_lives_after_the_end(
    play: Play, tmp_path: Path, containment: Containment, name: str, ending: str
) -> None:
    async def scenario(host: SupervisorHost) -> None:
        exit, pid = await ended(host, name, ENDINGS[ending])
        assert hostile.alive(host.incarnation) == []
        assert not hostile.is_alive(pid)
        assert exit.kill is not None
        assert exit.kill["left"] == []
        if "again and again" not in name:  # of a loop of forks that is too fast nothing is claimed
            assert exit.kill["containment"] == containment
        proof = 0 if exit.kill["containment"] == "cgroup2" else None
        assert exit.kill.get("survivors") == proof, "a scan proves nothing"
        assert exit.cause == ("timeout" if ending == "timeout" else "stopped")

    play(tmp_path, scenario)


# The last one of many would tell of the end of the first, if it lived on for a moment.
ANSWERS = """
first, lives = os.pipe()
for number in range(150):
    if os.fork() == 0:
        os.setsid()
        if number == 0: os.write(lives, b"!")
        else: os.close(lives)
        stay()
os.close(lives)
if os.fork() == 0:
    os.setsid()
    assert os.read(first, 1) == b"!"
    say(f"ready {os.getpid()}")
    os.read(first, 1)
    open(sys.argv[1], "w").close()
    stay()
stay()
"""


def test_none_can_answer_the_end_of_another(play: Play, tmp_path: Path) -> None:
    answer = tmp_path / "answer"

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program([*hostile.python(ANSWERS), str(answer)]), sink)
        await sink.until(b"ready ")
        await host.signal("k", "destroy")
        await process.wait()
        assert hostile.alive(host.incarnation) == []

    play(tmp_path / "state", scenario)
    assert not answer.exists()


def test_others_are_left_alone(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        others = {}
        for name in ("has its own session and no environment", "is stopped", "ignores SIGTERM"):
            sink = Sink()
            await host.spawn(name, program(hostile.command(name)), sink)
            await sink.until(b"ready ")
            others[name] = hostile.pid_said(sink.data["stdout"])
        await ended(host, "has its own session and no environment", _stop)
        assert all(hostile.is_alive(pid) for pid in others.values())

    play(tmp_path, scenario)


def test_what_is_left_after_a_normal_end_is_ended_and_counted(play: Play, tmp_path: Path) -> None:
    script = "sleep 1000 & setsid sleep 1000 & (setsid env -i sleep 1000 >&- 2>&- &) ; sleep 0.2; exit 3"

    async def scenario(host: SupervisorHost) -> None:
        exit = await (await host.spawn("k", program(["sh", "-c", script]), Sink())).wait()
        assert hostile.alive(host.incarnation) == []
        assert (exit.exit_code, exit.cause) == (3, "exited")
        assert exit.kill is not None
        assert (exit.kill["leftovers"], exit.kill["left"]) == (3, [])
        assert [name for name, _ in exit.kill["signals"]] == ["SIGKILL"]
        assert exit.finished_at - exit.started_at < 100

    play(tmp_path, scenario)


def test_a_normal_end_without_leftovers_has_no_report(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        exit = await (await host.spawn("k", program(["sh", "-c", "sleep 0.01 & wait; true"]), Sink())).wait()
        assert exit.kill is None

    play(tmp_path, scenario)


def test_what_a_normal_end_leaves_cannot_outrun_the_supervisor(play: Play, tmp_path: Path) -> None:
    code = hostile.PROGRAMS["forks and ends again and again"].replace("stay()", "time.sleep(0.05)")
    argv = hostile.python(code)

    async def scenario(host: SupervisorHost) -> None:
        exit = await (await host.spawn("k", program(argv), Sink())).wait()
        assert hostile.alive(host.incarnation) == []
        assert exit.kill is not None
        assert exit.kill["left"] == []
        assert exit.kill["leftovers"] > 0

    play(tmp_path, scenario)


def test_nor_one_that_orphans_do_not_come_to(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("seccomp")
    argv = hostile.python(hostile.PROGRAMS["forks and ends again and again"].replace("stay()", "time.sleep(0.05)"))

    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(tmp_path, containment="marker") as host:
            exit = await (await host.spawn("k", program(argv), Sink())).wait()
            assert hostile.alive(host.incarnation) == []
            assert exit.kill is not None
            assert exit.kill["left"] == []

    apart.run(lambda: asyncio.run(main()), apart.without("subreaper", error=errno.EPERM))


def test_what_loses_its_parent_is_adopted_by_the_supervisor(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        await host.spawn("k", program(["sh", "-c", "(sleep 1000 & echo ready $!); exec sleep 1000"]), sink)
        await sink.until(b"ready ")
        pid = hostile.pid_said(sink.data["stdout"])
        while (orphan := processes.read(pid)) and orphan.parent != host.pid:  # noqa: ASYNC110 - its parent tells nobody
            await asyncio.sleep(0.005)
        assert orphan is not None

    play(tmp_path, scenario)


def test_orphans_are_reaped_while_their_attempt_runs(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        script = "i=0; while [ $i -lt 300 ]; do (true &) ; i=$((i+1)); done; echo ready; exec sleep 1000"
        await host.spawn("k", program(["sh", "-c", script]), sink)
        await sink.until(b"ready")
        while hostile.zombies_of(host.pid):  # noqa: ASYNC110 - the supervisor tells nobody of orphans
            await asyncio.sleep(0.005)

    play(tmp_path, scenario)


def test_the_mark_cannot_be_chosen_by_the_task(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        spec = program(["sh", "-c", "echo $RUNNER_TASK_ID"], env={"RUNNER_TASK_ID": "mine"})
        await (await host.spawn("g/t/1", spec, sink)).wait()
        assert sink.data["stdout"].decode().strip() == f"{host.incarnation}/g/t/1"

    play(tmp_path, scenario)


def test_a_pipe_that_somebody_else_holds_does_not_block_the_end(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        held = os.open(f"/proc/{process.started.pid}/fd/1", os.O_WRONLY)
        try:
            await host.stop("k", 0.0)
            async with asyncio.timeout(10):
                assert (await process.wait()).cause == "stopped"
        finally:
            os.close(held)

    play(tmp_path, scenario)


def test_a_tracer_from_outside_does_not_block_the_end(
    play: Play, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("strace")

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        tracer = await asyncio.create_subprocess_exec(
            "strace", "-p", str(process.started.pid), stderr=asyncio.subprocess.PIPE
        )
        assert tracer.stderr is not None
        await tracer.stderr.readline()  # it says that it is attached
        await host.stop("k", 0.0)
        assert (await process.wait()).cause == "stopped"
        assert hostile.alive(host.incarnation) == []
        await tracer.wait()

    play(tmp_path, scenario)


def test_what_cannot_be_ended_in_time_is_named(play: Play, tmp_path: Path, require: Callable[[str], None]) -> None:
    """The first process is dead, but a tracer that does not look keeps it from being waited for, so that only the bound
    ends the wait."""
    require("ptrace")

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        tracer = hostile.idle_tracer(process.started.pid)
        try:
            await host.stop("k", 0.0)
            exit = await process.wait()
            assert (exit.exit_code, exit.signal, exit.cause) == (137, 9, "stopped")
        finally:
            tracer.kill()
            tracer.wait()
        assert (await (await host.spawn("next", program(["true"]), Sink())).wait()).exit_code == 0

    play(tmp_path, scenario)


@pytest.mark.parametrize("containment", ["marker"], indirect=True)
def test_what_may_not_be_signalled_is_named(play: Play, tmp_path: Path, require: Callable[[str], None]) -> None:
    """As it is with processes of another user, for a supervisor that is not root."""
    require("seccomp")
    ready, number = tmp_path / "ready", tmp_path / "number"
    os.mkfifo(ready)
    # It has a pipe to say so when it stays: the end must not come before.
    stays = f"echo $$ > {number}; echo > {ready}; exec sleep 1000 >&- 2>&-"

    async def scenario(host: SupervisorHost) -> None:
        argv = ["sh", "-c", 'setsid sh -c "$1" & read line < "$2"', "sh", stays, str(ready)]
        exit = await (await host.spawn("k", program(argv), Sink())).wait()
        assert (exit.exit_code, exit.cause) == (0, "exited")
        assert exit.kill is not None
        assert exit.kill["left"] == [{"pid": int(number.read_text()), "name": "sleep", "state": "S"}]
        assert "survivors" not in exit.kill

    def work() -> None:
        play(tmp_path / "state", scenario)

    try:
        apart.run(work, apart.without("kill", "pidfd_send_signal", error=errno.EPERM))
    finally:
        pid = int(number.read_text())
        os.kill(pid, signal.SIGKILL)


def test_all_is_ended_with_the_runner(tmp_path: Path, containment: Containment) -> None:
    async def main() -> str:
        async with asyncio.timeout(30), await SupervisorHost.start_private(tmp_path, containment=containment) as host:
            for name in ("has its own session and no environment", "ignores SIGTERM", "restarts what is ended"):
                sink = Sink()
                await host.spawn(name, program(hostile.command(name)), sink)
                await sink.until(b"ready ")
        return host.incarnation

    assert hostile.alive(asyncio.run(main())) == []


def test_the_end_of_many_at_once(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        async def one(number: int) -> ProcessExit:
            sink = Sink()
            process = await host.spawn(f"k{number}", program(hostile.command("has forked twice")), sink)
            await sink.until(b"ready ")
            await host.stop(f"k{number}", 5.0)
            return await process.wait()

        exits = await asyncio.gather(*map(one, range(20)))
        assert hostile.alive(host.incarnation) == []
        assert {exit.cause for exit in exits} == {"stopped"}

    play(tmp_path, scenario)


def test_forget_of_one_that_runs_ends_all_of_it(play: Play, tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        await host.spawn("k", program(hostile.command("has its own session and no environment")), sink)
        await sink.until(b"ready ")
        await host.forget("k")
        assert hostile.alive(host.incarnation) == []
        assert await host.list() == ()

    play(tmp_path, scenario)
