"""What only real processes can show of the contract of `drivers.base.ProcessHost`: signals, output, and what is left at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.base import ProcessHost
from tests import hostile
from tests.contract.process_host.scenario import play
from tests.contract.process_labs import Lab, Sink, program


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
        ticks = (
            "import os, time\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(0.01); print('tick', flush=True)"
        )
        process = await host.spawn("k", program(["sh", "-c", 'python3 -c "$1" & wait', "sh", ticks]), sink)
        await sink.until(b"\n")
        group = (process.started.pid, int(sink.data["stdout"].split()[0]))
        await host.signal("k", "pause")
        await _until(lambda: all(_state(pid) == "T" for pid in group))
        before = sink.data["stdout"].count(b"tick")
        await host.signal("k", "start")
        await sink.until(b"tick\n" * (before + 10))
        await _until(lambda: all(_state(pid) != "T" for pid in group))

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
