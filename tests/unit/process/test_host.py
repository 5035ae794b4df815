"""What a supervisor does beyond the contract: runners that die, that are replaced, and its own end."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ProcessHostError, StartError
from runner.process import host as host_module
from runner.process.host import SupervisorHost
from runner.process.supervisor import wire
from runner.process.supervisor.strangers import MOST
from tests import hostile
from tests.contract.process_labs import Sink, program

ROOT = Path(__file__).parents[3]

# A runner that starts a process, says so and then does nothing.
RUNNER = """
import asyncio, sys
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program

async def main(mode, folder, script):
    host = await (SupervisorHost.start_private(folder) if mode == "private" else SupervisorHost.connect(folder))
    sink = Sink()
    process = await host.spawn("k", program(["sh", "-c", script]), sink)
    await sink.until(b"ready")
    print(process.started.pid, host.pid, host.incarnation, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def test_an_answer_that_nobody_waits_for_may_be_lost(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        async with await SupervisorHost.start_private(tmp_path) as host:
            lost = asyncio.Event()
            host.on_lost(lambda error: lost.set())
            os.kill(host.pid, signal.SIGSTOP)
            host.synchronise(lambda: None)
            os.kill(host.pid, signal.SIGKILL)
            await lost.wait()
        gc.collect()

    asyncio.run(main())
    assert complaints == []


class Runner:
    """A runner in a process of its own, with one process `k` that has said `ready`."""

    def __init__(self, mode: str, folder: Path, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, mode, str(folder), script], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert self._process.stdout is not None
        pid, supervisor, self.incarnation = self._process.stdout.readline().split()
        self.pid, self.supervisor = int(pid), int(supervisor)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A state directory; its supervisor and what that has started are ended afterwards."""
    yield tmp_path / "state"

    async def end() -> None:
        host = await SupervisorHost.connect(tmp_path / "state", idle_seconds=0.0)
        os.kill(host.pid, signal.SIGTERM)
        await host.aclose()

    asyncio.run(end())


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main

    asyncio.run(bounded())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the file is opened, or read
        return False


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes cannot set an event of ours
        await asyncio.sleep(0.005)


def ready() -> Sink:
    """Goes on behind what the former runner has kept."""
    sink = Sink()
    sink.ends["stdout"] = len(b"ready\n")
    return sink


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


def test_nothing_outlives_the_runner_of_a_private_supervisor(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 1000 & echo $! > child; echo ready; wait; exec sleep 1000"
    runner = Runner("private", tmp_path, f"cd {tmp_path}; {script}")
    child = int((tmp_path / "child").read_text())
    assert alive(runner.pid)
    assert alive(child)
    runner.kill()

    async def main() -> None:
        await until(lambda: not alive(runner.pid) and not alive(child) and not alive(runner.supervisor))

    run(main())


def test_what_a_private_supervisor_has_left_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is too busy it may not be done in time."""
    monkeypatch.setattr(host_module, "_END_SECONDS", 0.1)

    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path)
        sink = Sink()
        await host.spawn("k", program(hostile.command("has its own session and no environment")), sink)
        await sink.until(b"ready ")
        os.kill(host.pid, signal.SIGSTOP)
        await host.aclose()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert hostile.alive(host.incarnation) == []
        assert hostile.rooms(host.incarnation) == []

    run(main())


def test_closing_a_private_host_ends_its_processes(tmp_path: Path) -> None:
    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path)
        sink = Sink()
        process = await host.spawn(
            "k", program(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done"]), sink
        )
        await sink.until(b"ready")
        await host.aclose()
        await host.aclose()
        assert not alive(process.started.pid)
        assert not alive(host.pid)
        with pytest.raises(ProcessHostError):
            await process.wait()
        with pytest.raises(ProcessHostError):
            await host.spawn("l", program(["true"]), sink)

    run(main())


@pytest.mark.parametrize("taken", [False, True])
def test_the_private_folder_goes_unless_the_next_runner_has_taken_it(tmp_path: Path, taken: bool) -> None:
    temp = tmp_path / "temp"
    (temp / "a").mkdir(parents=True)
    descriptor = os.open(temp, os.O_RDONLY)

    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path / "state", temp)
        if taken:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        await host.aclose()
        assert not alive(host.pid)
        assert temp.exists() is taken

    run(main())
    os.close(descriptor)


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


def test_sigterm_ends_the_supervisor_and_its_processes(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(tmp_path) as host:
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            os.kill(host.pid, signal.SIGTERM)
            assert (await process.wait()).cause == "stopped"
            await until(lambda: not alive(host.pid))
        assert not (tmp_path / wire.SOCKET_NAME).exists()

    run(main())


def test_a_supervisor_that_nobody_needs_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(tmp_path, idle_seconds=0.05) as host:
            await (await host.spawn("k", program(["true"]), Sink())).wait()
        async with await SupervisorHost.connect(tmp_path) as again:
            assert again.pid == host.pid, "it has a record that nobody has forgotten"
            await again.forget("k")
        await until(lambda: not alive(host.pid))
        assert not (tmp_path / wire.SOCKET_NAME).exists()

    run(main())


def test_a_supervisor_whose_state_directory_is_gone_ends(tmp_path: Path) -> None:
    async def main() -> None:
        state = tmp_path / "state"
        async with await SupervisorHost.connect(state) as host:
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            for name in (wire.SOCKET_NAME, wire.LOCK_NAME):
                (state / name).unlink()
        await until(lambda: not alive(host.pid) and not alive(process.started.pid))

    run(main())


def test_a_long_path_and_permissions(tmp_path: Path) -> None:
    async def main() -> None:
        state = tmp_path.joinpath(*["d" * 100] * 5)
        async with await SupervisorHost.connect(state, idle_seconds=0.0) as host:
            assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0
            await host.forget("k")
            assert (state / wire.SOCKET_NAME).stat().st_mode & 0o777 == 0o600
            assert (state / wire.LOCK_NAME).stat().st_mode & 0o777 == 0o600
            assert state.stat().st_mode & 0o777 == 0o700
        await until(lambda: not alive(host.pid))

    run(main())


def test_children_have_the_runners_umask_and_no_descriptor_of_it(shared: Path, tmp_path: Path) -> None:
    former = os.umask(0o027)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)

    async def main() -> None:
        async with await SupervisorHost.connect(shared) as host:
            os.close(writer)
            assert os.read(reader, 1) == b"", "the supervisor does not hold it either"
            sink = Sink()
            await (await host.spawn("k", program(["sh", "-c", "umask"]), sink)).wait()
            assert sink.data["stdout"] == b"0027\n"

    try:
        run(main())
    finally:
        os.umask(former)
        os.close(reader)


HELLO = {"op": "hello", "id": 1, "protocol": wire.PROTOCOL}


@pytest.mark.parametrize(
    ("raw", "reason", "error"),
    [
        (b"\xff\xff\xff\xff", "bad_request", "hello"),
        (b"\0\0\0\4nope", "bad_request", "hello"),
        (b"\0\0\0\2[]", "bad_request", "hello"),
        (wire.encode({"op": "list", "id": 1}), "bad_request", "hello"),
        (wire.encode({**HELLO, "protocol": 99}), "protocol", "99"),
        (wire.encode({**HELLO, "incarnation": 5}), "bad_request", "incarnation"),
        (wire.encode({**HELLO, "incarnation": "../" * 11}), "bad_request", "incarnation"),
        (wire.encode(HELLO) + wire.encode({"op": "dance", "id": 2}), "bad_request", "dance"),
        (wire.encode(HELLO) + wire.encode({"op": "spawn", "id": 2}), "bad_request", "spawn"),
        (wire.encode(HELLO) + wire.encode({"op": "stop", "id": 2, "key": []}), "bad_request", "stop"),
    ],
)
def test_nonsense_is_refused_and_survived(shared: Path, raw: bytes, reason: str, error: str) -> None:
    async def main() -> None:
        host = await SupervisorHost.connect(shared)
        await host.spawn("k", program(["sleep", "1000"]), Sink())
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            folder = os.open(shared, os.O_RDONLY)
            stranger.connect(f"/proc/self/fd/{folder}/{wire.SOCKET_NAME}")
            os.close(folder)
            stranger.sendall(raw)
            messages = []
            decoder = wire.Decoder()
            while data := stranger.recv(65536):
                messages += decoder.feed(data)
        assert messages[-1]["op"] == "refused"
        assert messages[-1]["reason"] == reason
        assert error in messages[-1]["error"]
        await host.aclose()
        async with await SupervisorHost.connect(shared) as again:
            assert again.pid == host.pid
            assert await again.list() == ("k",)

    run(main())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\0\0\0\4nope",
        wire.encode({"op": "list", "id": 1}),
        wire.encode({"op": "hello", "id": 1, "protocol": 99}),
    ],
)
def test_who_does_not_say_hello_takes_nothing_from_a_runner(shared: Path, raw: bytes) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(shared) as host:
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            folder = os.open(shared, os.O_RDONLY)
            for _ in range(MOST + 2):
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
                    stranger.connect(f"/proc/self/fd/{folder}/{wire.SOCKET_NAME}")
                    stranger.sendall(raw)
                    if len(raw) > 1:
                        assert b"refused" in stranger.recv(65536)
            silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(MOST + 2)]
            for stranger in silent:
                stranger.connect(f"/proc/self/fd/{folder}/{wire.SOCKET_NAME}")
            assert silent[0].recv(1) == b""  # there are too many of them
            os.close(folder)
            assert await host.list() == ("k",)
            await host.stop("k", 5.0)
            assert (await process.wait()).cause == "stopped"
            async with await SupervisorHost.connect(shared) as next:
                assert (next.pid, next.epoch) == (host.pid, 2)
            for stranger in silent:
                stranger.close()

    run(main())


def test_too_many_open_files_are_told_and_survived(shared: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(shared) as host:
            resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (24, 24))
            problem = None
            number = 0
            while problem is None:
                try:
                    await host.spawn(f"k{number}", program(["sleep", "1000"]), Sink())
                    number += 1
                except StartError as error:
                    problem = error
            assert number > 1
            assert problem.exit_code == 125
            assert "too many open files" in problem.message
            for key in ("k0", "k1"):  # a process that runs has two descriptors, one that is being started four
                await host.forget(key)
            assert (await (await host.spawn("again", program(["true"]), Sink())).wait()).exit_code == 0

    run(main())


def test_a_runner_that_does_not_read_blocks_nobody(shared: Path) -> None:
    async def main() -> None:
        host = await SupervisorHost.connect(shared)
        await host.aclose()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sleepy:
            folder = os.open(shared, os.O_RDONLY)
            sleepy.connect(f"/proc/self/fd/{folder}/{wire.SOCKET_NAME}")
            os.close(folder)
            sleepy.setblocking(False)
            request = wire.encode({"op": "list", "id": 1})
            sleepy.send(wire.encode(HELLO))
            # It stops reading requests when the answers pile up, so that at some point nothing can be sent.
            try:
                while True:
                    sleepy.send(request * 1000)
            except BlockingIOError:
                pass
            rss = int(Path(f"/proc/{host.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            assert rss < 64 << 20
            async with await SupervisorHost.connect(shared) as other:
                assert other.pid == host.pid
                assert (await (await other.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    run(main())


def test_the_state_directory_cannot_be_used(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ProcessHostError, match="file"):
            await SupervisorHost.connect(tmp_path / "file")
        with pytest.raises(ProcessHostError, match="file"):
            await SupervisorHost.start_private(tmp_path / "file")

    run(main())
