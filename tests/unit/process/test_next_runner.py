"""What a supervisor does beyond the contract: runners that die and that are replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from runner.errors import ProcessHostError
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program
from tests.unit.process.runners import Runner, alive, ready, run, until


def test_a_process_outlives_its_runner_and_is_found_again(shared: Path) -> None:
    runner = Runner("shared", shared, "echo ready; exec sleep 1000")
    runner.kill()

    async def main() -> None:
        async with await SupervisorHost.connect(shared) as host:
            assert host.incarnation == runner.incarnation
            assert host.epoch == 2
            assert await host.list() == ("k",)
            process = await host.attach("k", ready())
            assert process is not None
            assert process.started.pid == runner.pid
            assert alive(runner.pid)
            await host.stop("k", 5.0)
            assert (await process.wait()).cause == "stopped"

    run(main())


def test_what_was_written_without_a_runner_is_not_lost(shared: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    runner = Runner("shared", shared, f"echo ready; read line < {gate}; echo later; exit 5")
    runner.kill()
    gate.write_text("go\n")

    async def main() -> None:
        await until(lambda: not alive(runner.pid))
        async with await SupervisorHost.connect(shared) as host:
            sink = ready()
            process = await host.spawn("k", program(["sh", "-c", "exit 1"]), sink)
            exit = await process.wait()
            assert (exit.exit_code, exit.cause, process.started.pid) == (5, "exited", runner.pid)
            assert sink.data["stdout"] == b"later\n"

    run(main())


def test_a_deadline_strikes_without_a_runner(shared: Path) -> None:
    async def begin() -> int:
        async with await SupervisorHost.connect(shared) as host:
            return (await host.spawn("k", program(["sleep", "1000"], timeout=0.1), Sink())).started.pid

    async def find(pid: int) -> None:
        await until(lambda: not alive(pid))
        async with await SupervisorHost.connect(shared) as host:
            process = await host.attach("k", Sink())
            assert process is not None
            assert (await process.wait()).cause == "timeout"

    pid = asyncio.run(begin())
    run(find(pid))


def test_the_deadline_of_what_is_paused_stands_still_while_runners_come_and_go(shared: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(shared) as host:
            await host.spawn("k", program(["sleep", "1000"], timeout=0.4), Sink())
            await host.signal("k", "pause")
        async with await SupervisorHost.connect(shared) as host:
            paused = await host.attach("k", Sink())
            assert paused is not None
            await host.signal("k", "pause")  # as it was written down
            ended = asyncio.ensure_future(paused.wait())
            measure = await host.spawn("measure", program(["sleep", "1000"], timeout=0.8), Sink())
            assert (await measure.wait()).cause == "timeout"
            assert not ended.done()
            await host.signal("k", "start")
            assert (await ended).cause == "timeout"

    run(main())


def test_a_new_connection_supersedes_the_old_one(shared: Path) -> None:
    async def main() -> None:
        old = await SupervisorHost.connect(shared)
        sink = Sink()
        process = await old.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        async with await SupervisorHost.connect(shared) as new:
            assert (new.incarnation, new.epoch) == (old.incarnation, 2)
            with pytest.raises(ProcessHostError, match="another runner"):
                await process.wait()
            with pytest.raises(ProcessHostError, match="another runner"):
                await old.stop("k", 0.0)
            attached = await new.attach("k", Sink(sink))
            assert attached is not None
            await new.stop("k", 1.0)
            assert (await attached.wait()).cause == "stopped"
        await old.aclose()

    run(main())


@pytest.mark.parametrize("ended", [False, True])
def test_a_log_that_is_gone_holds_up_nobody(shared: Path, ended: bool) -> None:
    """What the supervisor has consumed is in no pipe any more."""

    async def main() -> None:
        sink = Sink()
        async with await SupervisorHost.connect(shared) as old:
            process = await old.spawn(
                "k", program(["sh", "-c", f"echo ready; exec sleep {0 if ended else 1000}"]), sink
            )
            await sink.until(b"ready\n")
            if ended:
                await process.wait()
            assert await old.list() == ("k",)  # behind the message that it is kept
        async with await SupervisorHost.connect(shared) as new:
            attached = await new.attach("k", Sink())
            assert attached is not None
            await new.stop("k", 1.0)
            with pytest.raises(OSError, match="6 bytes of it were lost"):
                await attached.wait()

    run(main())


def test_runners_that_come_at_once_share_one_supervisor(shared: Path) -> None:
    async def main() -> None:
        async def one() -> tuple[SupervisorHost, str, int]:
            host = await SupervisorHost.connect(shared)
            return host, host.incarnation, host.epoch

        connected = await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)
        hosts = [item for item in connected if isinstance(item, tuple)]
        assert {item[1] for item in hosts} == {hosts[0][1]}
        assert len({item[2] for item in hosts}) == len(hosts)
        for error in connected:
            assert isinstance(error, tuple) or "another runner" in str(error)
        for host, _, _ in hosts:
            await host.aclose()

    run(main())


def test_the_end_of_the_supervisor_is_told_and_the_next_one_is_another(shared: Path) -> None:
    async def main() -> None:
        host = await SupervisorHost.connect(shared)
        process = await host.spawn("k", program(["sleep", "1000"]), Sink())
        ended = await host.spawn("ended", program(["true"]), Sink())
        exit = await ended.wait()
        os.kill(host.pid, signal.SIGKILL)
        with pytest.raises(ProcessHostError):
            await process.wait()
        assert await ended.wait() == exit
        with pytest.raises(ProcessHostError):
            await host.list()
        await host.aclose()
        async with await SupervisorHost.connect(shared) as other:
            assert other.incarnation != host.incarnation
            assert await other.attach("k", Sink()) is None
        os.kill(process.started.pid, signal.SIGKILL)

    run(main())
