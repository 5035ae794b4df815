"""The contract of `drivers.base.ProcessHost`, over every implementation: what is started, found again and forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.base import ProcessHost
from runner.errors import StartError
from tests.contract.process_host.scenario import play
from tests.contract.process_labs import Lab, Sink, program


def test_exit_code(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        for code in (0, 1, 3, 255):
            process = await host.spawn(f"k{code}", program(lab.exits(code)), Sink())
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


def test_what_it_reads(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        for number, text in enumerate((None, "", "a\n", "ü\0" * 500_000)):
            sink = Sink()
            await (await host.spawn(f"k{number}", program(lab.repeats(), stdin=text), sink)).wait()
            assert sink.data["stdout"] == (text or "").encode(), number

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


def test_spawn_of_what_has_ended_starts_nothing(lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        one = await host.spawn("k", program(lab.exits(5)), Sink())
        ended = await one.wait()
        again = await host.spawn("k", program(lab.exits(9)), Sink())
        assert again.started == one.started
        assert await again.wait() == ended
        await host.forget("k")
        assert (await (await host.spawn("k", program(lab.exits(9)), Sink())).wait()).exit_code == 9

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


def test_attach_while_it_ends(lab: Lab, tmp_path: Path) -> None:
    """Whoever asks again at that very moment is told of the end, in whatever message it travels."""

    async def scenario(host: ProcessHost) -> None:
        for number in range(60):
            key = f"k{number}"
            await host.spawn(key, program(lab.exits(5)), Sink())
            attached = None
            for _ in range(3):
                attached = await host.attach(key, Sink())
            assert attached is not None
            async with asyncio.timeout(20):
                assert (await attached.wait()).exit_code == 5

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
