"""What a supervisor does beyond the contract: whoever connects to its socket, and what it gives to its children."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest

from runner.errors import ProcessHostError, StartError
from runner.process.host import SupervisorHost
from runner.process.supervisor import wire
from runner.process.supervisor.strangers import MOST
from tests.contract.process_labs import Sink, program
from tests.unit.process.runners import alive, run, until


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
