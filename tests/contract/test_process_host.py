"""The contract of `drivers.base.ProcessHost`, over every implementation; then what only real processes can show."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from drivers.base import ProcessHost, ProcessLimits
from runner.errors import StartError
from tests import hostile
from tests.contract.process_labs import LABS, REAL, Lab, Sink, program

Scenario = Callable[[ProcessHost], Awaitable[None]]
Play = Callable[[Scenario], None]


@pytest.fixture(params=LABS)
def lab(request: pytest.FixtureRequest, require: Callable[[str], None]) -> Lab:
    return _required(LABS[request.param], require)


@pytest.fixture(params=REAL)
def real_lab(request: pytest.FixtureRequest, require: Callable[[str], None]) -> Lab:
    return _required(LABS[request.param], require)


def _required(lab: Lab, require: Callable[[str], None]) -> Lab:
    for need in lab.needs:
        require(need)
    return lab


def play(lab: Lab, folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), lab.open(folder) as host:
            await scenario(host)

    lab.play(folder, lambda: asyncio.run(main()))


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_code(lab: Lab, tmp_path: Path, code: int) -> None:
    async def scenario(host: ProcessHost) -> None:
        process = await host.spawn("k", program(lab.exits(code)), Sink())
        assert process.started.pid > 0
        exit = await process.wait()
        assert (exit.exit_code, exit.signal, exit.cause, exit.kill) == (code, None, "exited", None)
        assert exit.started_at == process.started.started_at
        assert exit.finished_at >= exit.started_at
        assert await process.wait() == exit

    play(lab, tmp_path, scenario)


def test_output_is_complete_and_apart(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.says("out" * 1000, "err")), sink)
        await process.wait()
        assert sink.data == {"stdout": b"out" * 1000, "stderr": b"err"}

    play(lab, tmp_path, scenario)


@pytest.mark.parametrize("text", [None, "", "a\n", "ü\0" * 500_000])
def test_what_it_reads(lab: Lab, tmp_path: Path, text: str | None) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        await (await host.spawn("k", program(lab.repeats(), stdin=text), sink)).wait()
        assert sink.data["stdout"] == (text or "").encode()

    play(lab, tmp_path, scenario)


def test_unknown_program_is_127_and_leaves_no_record(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        with pytest.raises(StartError, match="no-such-program") as caught:
            await host.spawn("k", program(["no-such-program"]), Sink())
        assert caught.value.exit_code == 127
        assert await host.list() == ()
        assert (await (await host.spawn("k", program(lab.exits(4)), Sink())).wait()).exit_code == 4

    play(lab, tmp_path, scenario)


def test_spawn_is_idempotent_by_key(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        first, second = Sink(), Sink()
        one = await host.spawn("k", program(lab.stays()), first)
        await first.until(b"ready")
        again = await host.spawn("k", program(lab.exits(9)), second)
        assert again.started == one.started
        assert await host.list() == ("k",)
        await host.stop("k", 0.0)
        assert await again.wait() == await one.wait()

    play(lab, tmp_path, scenario)


def test_concurrent_spawns_of_one_key_start_one_process(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        spec = program(lab.stays())
        one, two = await asyncio.gather(host.spawn("k", spec, Sink()), host.spawn("k", spec, Sink()))
        assert one.started == two.started

    play(lab, tmp_path, scenario)


def test_attach(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        assert await host.attach("k", Sink()) is None
        process = await host.spawn("k", program(lab.exits(5)), Sink())
        await process.wait()
        attached = await host.attach("k", Sink())
        assert attached is not None
        assert (await attached.wait()).exit_code == 5
        await host.forget("k")
        assert await host.attach("k", Sink()) is None

    play(lab, tmp_path, scenario)


def test_list_and_forget(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        for key in ("a", "b"):
            await (await host.spawn(key, program(lab.exits(0)), Sink())).wait()
        assert sorted(await host.list()) == ["a", "b"]
        await host.forget("a")
        await host.forget("a")
        await host.forget("never-known")
        assert await host.list() == ("b",)

    play(lab, tmp_path, scenario)


def test_forget_kills(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.ignores_sigterm()), sink)
        await sink.until(b"ready")
        waiting = asyncio.ensure_future(process.wait())
        await host.forget("k")
        exit = await waiting
        assert (exit.exit_code, exit.signal, exit.cause) == (137, 9, "stopped")
        assert await host.list() == ()

    play(lab, tmp_path, scenario)


def test_stop_of_one_that_obeys(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.obeys(7)), sink)
        await sink.until(b"ready")
        await host.stop("k", 20.0)
        exit = await process.wait()
        assert (exit.exit_code, exit.signal, exit.cause) == (7, None, "stopped")
        assert exit.kill is not None
        assert [name for name, _ in exit.kill["signals"]] == ["SIGTERM"]

    play(lab, tmp_path, scenario)


def test_stop_of_one_that_does_not_obey(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.ignores_sigterm()), sink)
        await sink.until(b"ready")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert (exit.exit_code, exit.signal, exit.cause) == (137, 9, "stopped")
        assert exit.kill is not None
        (first, at), (second, later) = exit.kill["signals"]
        assert (first, at, second) == ("SIGTERM", 0.0, "SIGKILL")
        assert later >= 0.1
        assert exit.kill["containment"]

    play(lab, tmp_path, scenario)


def test_a_later_stop_shortens_the_grace_and_never_lengthens_it(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.ignores_sigterm()), sink)
        await sink.until(b"ready")
        await host.stop("k", 1000.0)
        await host.stop("k", 0.05)
        await host.stop("k", 1000.0)
        exit = await process.wait()
        assert exit.kill is not None
        assert [name for name, _ in exit.kill["signals"]] == ["SIGTERM", "SIGKILL"]

    play(lab, tmp_path, scenario)


def test_stop_after_the_end_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        process = await host.spawn("k", program(lab.exits(0)), Sink())
        exit = await process.wait()
        await host.stop("k", 0.0)
        await host.signal("k", "destroy")
        await host.stop("unknown", 0.0)
        await host.signal("unknown", "pause")
        assert await process.wait() == exit
        assert exit.cause == "exited"

    play(lab, tmp_path, scenario)


def test_timeout(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        process = await host.spawn("k", program(lab.stays(), timeout=0.1), Sink())
        exit = await process.wait()
        assert (exit.exit_code, exit.signal, exit.cause) == (143, 15, "timeout")
        assert exit.kill is not None

    play(lab, tmp_path, scenario)


def test_timeout_with_grace(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        process = await host.spawn("k", program(lab.ignores_sigterm(), timeout=0.3, grace=0.1), Sink())
        exit = await process.wait()
        assert (exit.exit_code, exit.cause) == (137, "timeout")

    play(lab, tmp_path, scenario)


def test_the_deadline_stands_still_while_paused(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        paused = await host.spawn("paused", program(lab.stays(), timeout=0.4), Sink())
        await host.signal("paused", "pause")
        await host.signal("paused", "pause")
        ended = asyncio.ensure_future(paused.wait())
        measure = await host.spawn("measure", program(lab.stays(), timeout=0.8), Sink())
        assert (await measure.wait()).cause == "timeout"
        assert not ended.done()
        await host.signal("paused", "start")
        assert (await ended).cause == "timeout"

    play(lab, tmp_path, scenario)


def test_one_that_is_paused_can_be_stopped(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.obeys(6)), sink)
        await sink.until(b"ready")
        await host.signal("k", "pause")
        await host.stop("k", 20.0)
        exit = await process.wait()
        assert (exit.exit_code, exit.cause) == (6, "stopped")

    play(lab, tmp_path, scenario)


def test_destroy(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        process = await host.spawn("k", program(lab.ignores_sigterm()), Sink())
        await host.signal("k", "destroy")
        exit = await process.wait()
        assert (exit.exit_code, exit.signal, exit.cause) == (137, 9, "stopped")

    play(lab, tmp_path, scenario)


def test_cancelling_the_wait_leaves_the_process_alone(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(lab.obeys(8)), sink)
        waiting = asyncio.ensure_future(process.wait())
        await sink.until(b"ready")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await host.stop("k", 20.0)
        assert (await process.wait()).exit_code == 8

    play(lab, tmp_path, scenario)


def test_many_at_once(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        async def one(number: int) -> int:
            sink = Sink()
            process = await host.spawn(f"k{number}", program(lab.says(f"o{number}", f"e{number}")), sink)
            exit = await process.wait()
            assert sink.data == {"stdout": f"o{number}".encode(), "stderr": f"e{number}".encode()}
            await host.forget(f"k{number}")
            return exit.exit_code

        assert await asyncio.gather(*map(one, range(100))) == [0] * 100
        assert await host.list() == ()

    play(lab, tmp_path, scenario)


# What only real processes can show.


def test_environment_and_folder(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        spec = program(["sh", "-c", "pwd; env"], cwd=str(tmp_path), env={"EMPTY": "", "A": "b=c\nd"})
        await (await host.spawn("k", spec, sink)).wait()
        first, *rest = sink.data["stdout"].decode().splitlines()
        assert first == str(tmp_path)
        assert {"EMPTY=", "A=b=c", "d"} <= set(rest)
        assert {line.split("=")[0] for line in rest} <= {
            "PATH",
            "RUNNER_TASK_ID",
            "EMPTY",
            "A",
            "d",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
        }

    play(real_lab, tmp_path, scenario)


@pytest.fixture(params=[None, ProcessLimits(oom_score_adj=1000)], ids=["spawned", "forked"])
def limits(request: pytest.FixtureRequest) -> ProcessLimits | None:
    """A program that asks for nothing special, and one that does, are started in two ways that must look alike."""
    return cast(ProcessLimits | None, request.param)


def test_session_descriptors_and_signals(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        script = "cut -d' ' -f5,6 /proc/self/stat; grep -E 'SigBlk|SigIgn' /proc/self/status; readlink /proc/self/fd/0"
        command = [
            "python3",
            "-c",
            "import os; print(sorted(os.listdir('/proc/self/fd')), flush=True); os.execv('/bin/sh', ['sh', '-c', os.environ['S']])",
        ]
        process = await host.spawn("k", program(command, env={"S": script}, limits=limits), sink)
        await process.wait()
        descriptors, ids, blocked, ignored, stdin = sink.data["stdout"].decode().splitlines()
        assert descriptors == "['0', '1', '2', '3']", "3 is that of the listing itself"
        assert ids.split() == [str(process.started.pid)] * 2
        assert int(blocked.split()[1], 16) == 0
        assert int(ignored.split()[1], 16) & 0x7FFF_FFFF == 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1), (
            "Python's own"
        )
        assert stdin == "/dev/null"

    play(real_lab, tmp_path, scenario)


def test_not_executable_is_126(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    no_line = tmp_path / "no-line"
    no_line.write_text("echo hi\n")
    no_line.chmod(0o755)
    bad_interpreter = tmp_path / "bad-interpreter"
    bad_interpreter.write_text("#!/no/such/interpreter\n")
    bad_interpreter.chmod(0o755)

    async def scenario(host: ProcessHost) -> None:
        for argv in (["/etc"], [str(plain)], [str(no_line)], [str(bad_interpreter)], ["./plain"], ["plain"]):
            spec = program(argv, cwd=str(tmp_path), env={"PATH": str(tmp_path)}, limits=limits)
            with pytest.raises(StartError) as caught:
                await host.spawn("k", spec, Sink())
            assert caught.value.exit_code == 126, argv

    play(real_lab, tmp_path / "state", scenario)


@pytest.mark.parametrize(
    ("argv", "code"), [(["/no/such"], 127), (["/etc/passwd/x"], 127), ([""], 127), (["a\0b"], 125), ([], 125)]
)
def test_what_cannot_be_started(
    real_lab: Lab, tmp_path: Path, argv: list[str], code: int, limits: ProcessLimits | None
) -> None:
    async def scenario(host: ProcessHost) -> None:
        with pytest.raises(StartError) as caught:
            await host.spawn("k", program(argv, limits=limits), Sink())
        assert caught.value.exit_code == code
        assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    play(real_lab, tmp_path, scenario)


def test_missing_folder_is_125(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    async def scenario(host: ProcessHost) -> None:
        with pytest.raises(
            StartError, match="cannot enter the working folder '/no/such/folder': No such file"
        ) as caught:
            await host.spawn("k", program(["true"], cwd="/no/such/folder", limits=limits), Sink())
        assert caught.value.exit_code == 125

    play(real_lab, tmp_path, scenario)


@pytest.mark.parametrize("size", [140_000, 20 << 20])
def test_too_long_arguments_are_125_and_say_what_to_do(real_lab: Lab, tmp_path: Path, size: int) -> None:
    async def scenario(host: ProcessHost) -> None:
        with pytest.raises(StartError, match="files") as caught:
            await host.spawn("k", program(["true"], env={"A": "x" * size}), Sink())
        assert caught.value.exit_code == 125
        assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    play(real_lab, tmp_path, scenario)


def test_ended_by_a_signal(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        alone = await host.spawn("alone", program(["sh", "-c", "kill -SEGV $$"]), Sink())
        group = await host.spawn("group", program(["sh", "-c", "kill -9 0"]), Sink())
        exit = await alone.wait()
        assert (exit.exit_code, exit.signal, exit.cause) == (139, 11, "exited")
        exit = await group.wait()
        assert (exit.exit_code, exit.signal, exit.cause) == (137, 9, "exited")

    play(real_lab, tmp_path, scenario)


def test_what_is_left_in_the_process_group_is_killed(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "sleep 1000 & echo $!"]), sink)
        exit = await process.wait()
        assert exit.exit_code == 0
        assert exit.finished_at - exit.started_at < 100
        await _until(lambda: not _alive(int(sink.data["stdout"])))

    play(real_lab, tmp_path, scenario)


def test_what_a_normal_end_leaves_is_ended_and_counted(real_lab: Lab, tmp_path: Path) -> None:
    script = "sleep 1000 & setsid sleep 1000 & (setsid env -i sleep 1000 >&- 2>&- &) ; sleep 0.2; exit 3"

    async def scenario(host: ProcessHost) -> None:
        exit = await (await host.spawn("k", program(["sh", "-c", script]), Sink())).wait()
        assert (exit.exit_code, exit.cause) == (3, "exited")
        assert exit.kill is not None
        assert (exit.kill["leftovers"], exit.kill["left"]) == (3, [])
        assert (await (await host.spawn("next", program(["true"]), Sink())).wait()).kill is None

    play(real_lab, tmp_path, scenario)


@pytest.mark.parametrize("name", ["ignores SIGTERM", "has its own session and no environment", "has forked twice"])
def test_nothing_that_it_has_started_lives_on(real_lab: Lab, tmp_path: Path, name: str) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(hostile.command(name)), sink)
        await sink.until(b"ready ")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert exit.kill["left"] == []
        if real_lab.proves:
            assert (exit.kill["containment"], exit.kill["survivors"]) == ("cgroup2", 0)

    play(real_lab, tmp_path, scenario)


def test_much_output(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        script = "head -c 30000000 /dev/zero; head -c 3000000 /dev/zero >&2"
        await (await host.spawn("k", program(["sh", "-c", script]), sink)).wait()
        assert {stream: len(data) for stream, data in sink.data.items()} == {"stdout": 30_000_000, "stderr": 3_000_000}

    play(real_lab, tmp_path, scenario)


def test_pause_stops_the_process_group(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        ticks = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.01); print('tick', flush=True)"
        process = await host.spawn("k", program(["python3", "-c", ticks]), sink)
        await sink.until(b"ready")
        await host.signal("k", "pause")
        await _until(lambda: _state(process.started.pid) == "T")
        before = sink.data["stdout"].count(b"tick")
        await host.signal("k", "start")
        await sink.until(b"tick\n" * (before + 10))
        assert _state(process.started.pid) != "T"

    play(real_lab, tmp_path, scenario)


def test_a_sink_that_fails_is_told_and_harms_nobody_else(real_lab: Lab, tmp_path: Path) -> None:
    class Full(Sink):
        def write(self, stream: object, data: bytes, end: int | None = None) -> None:
            raise OSError(28, "No space left on device")

    async def scenario(host: ProcessHost) -> None:
        bad = await host.spawn("bad", program(["sh", "-c", "head -c 1000000 /dev/zero"]), Full())
        good = await host.spawn("good", program(["true"]), Sink())
        assert (await good.wait()).exit_code == 0
        with pytest.raises(OSError, match="No space"):
            await bad.wait()

    play(real_lab, tmp_path, scenario)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the kernel does not say when it has done what a signal asked for
        await asyncio.sleep(0.005)


def _alive(pid: int) -> bool:
    try:
        return _state(pid) != "Z"
    except FileNotFoundError:
        return False


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
