"""The contract of `drivers.base.ProcessHost`, over every implementation: stops, deadlines and pauses."""

from __future__ import annotations

import asyncio
from pathlib import Path

from drivers.base import ProcessHost
from tests.contract.process_host.scenario import play
from tests.contract.process_labs import Lab, Sink, program


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
