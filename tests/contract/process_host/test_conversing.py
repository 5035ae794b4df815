"""What only real processes can show of `converse`: a terminal or pipes, signals that are typed, and ends of all kinds."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from drivers.base import ProcessHost, ProcessLimits, ProcessSpec, ProcessUser
from runner.errors import StartError
from runner.model.shell import Size
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from runner.process.terminal import Terminal
from tests.contract.process_host.scenario import play
from tests.contract.process_labs import Lab, PrivateLab, program

SIZE = Size(30, 100)


async def conversation(host: ProcessHost, key: str, spec: ProcessSpec, size: Size | None) -> Terminal:
    assert isinstance(host, SupervisorHost | LastingHost)
    return await host.converse(key, spec, size)


async def said(terminal: Terminal) -> dict[str, bytes]:
    """All of it, by stream."""
    found = {"stdout": b"", "stderr": b""}
    while (piece := await terminal.read()) is not None:
        found[piece[0]] += piece[1]
    return found


def is_alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(terminal: Terminal, word: bytes) -> bytes:
    seen = b""
    while word not in seen:
        piece = await terminal.read()
        assert piece is not None, f"it ended behind {seen!r}"
        seen += piece[1]
    return seen


def conversing(
    lab: Lab, folder: Path, spec: ProcessSpec, size: Size | None, work: Callable[[Terminal], Awaitable[None]]
) -> None:
    async def scenario(host: ProcessHost) -> None:
        terminal = await conversation(host, "k", spec, size)
        try:
            await work(terminal)
        finally:
            await terminal.aclose(0.4)
        assert terminal.ended
        assert await host.list() == ()

    play(lab, folder, scenario)


def test_a_terminal_of_its_own(real_lab: Lab, tmp_path: Path) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $$ $(cut -d' ' -f5,6,8 /proc/$$/stat); exit 3"

    async def work(terminal: Terminal) -> None:
        rows, ids = (await said(terminal))["stdout"].decode().replace("\r", "").splitlines()
        pid, group, session, foreground = ids.split()
        assert rows == "30 100"
        assert pid == group == session == foreground, "it leads the session whose terminal it is"
        assert (await terminal.wait()).exit_code == 3

    conversing(real_lab, tmp_path, program(["sh", "-c", script]), SIZE, work)


def test_what_is_typed_becomes_signals_and_an_end(real_lab: Lab, tmp_path: Path) -> None:
    async def work(terminal: Terminal) -> None:
        await terminal.write(b"PS1=; stty -echo; trap 'echo caught' INT; echo begun\n")
        await until(terminal, b"begun\r\n")
        await terminal.write(b"sh -c 'echo job; exec sleep 1000'\n")
        await until(terminal, b"job\r\n")
        await terminal.write(b"\x03")
        await terminal.write(b"echo goes on; cat\n")
        await until(terminal, b"goes on\r\n")
        await terminal.write(b"a line\n")
        await until(terminal, b"a line\r\n")
        await terminal.write(b"\x04")
        await terminal.write(b"echo behind; exit 7\n")
        await until(terminal, b"behind\r\n")
        assert (await terminal.wait()).exit_code == 7

    conversing(real_lab, tmp_path, program(["sh", "-i"]), SIZE, work)


def test_its_size_changes(real_lab: Lab, tmp_path: Path) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done"

    async def work(terminal: Terminal) -> None:
        await until(terminal, b"ready")
        await terminal.resize(Size(11, 222))
        await until(terminal, b"11 222")

    conversing(real_lab, tmp_path, program(["sh", "-c", script]), SIZE, work)


def test_a_raw_terminal_carries_every_byte(real_lab: Lab, tmp_path: Path) -> None:
    everything = bytes(range(256)) * 64

    async def work(terminal: Terminal) -> None:
        await until(terminal, b"ready")
        back = b""
        writing = asyncio.ensure_future(terminal.write(everything))
        while len(back) < len(everything):
            piece = await terminal.read()
            assert piece is not None
            back += piece[1]
        await writing
        assert back == everything

    script = f"stty raw -echo; printf ready; exec head -c {len(everything)}"
    conversing(real_lab, tmp_path, program(["sh", "-c", script]), SIZE, work)


def test_pipes_are_apart_and_clean(real_lab: Lab, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)

    async def work(terminal: Terminal) -> None:
        async def feed() -> None:
            await terminal.write(data)
            await terminal.end_input()

        feeding = asyncio.ensure_future(feed())
        found = await said(terminal)
        await feeding
        assert found == {"stdout": data, "stderr": hashlib.sha256(data).hexdigest().encode() + b"  -\n"}
        assert (await terminal.wait()).exit_code == 0

    script = "f=$(mktemp); cat >$f; cat $f; sha256sum - <$f >&2; rm $f"
    conversing(real_lab, tmp_path, program(["sh", "-c", script]), None, work)


def test_much_that_is_read_slowly_waits_in_the_kernel(real_lab: Lab, tmp_path: Path) -> None:
    async def work(terminal: Terminal) -> None:
        assert len((await said(terminal))["stdout"]) == 10 << 20
        assert (await terminal.wait()).exit_code == 0

    conversing(real_lab, tmp_path, program(["head", "-c", str(10 << 20), "/dev/zero"]), SIZE, work)


def test_what_cannot_be_started_says_why(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        for argv, code in ((["no-such-program"], 127), (["/etc"], 126)):
            with pytest.raises(StartError) as caught:
                await conversation(host, "k", program(argv), SIZE)
            assert caught.value.exit_code == code
        assert await host.list() == ()

    play(real_lab, tmp_path, scenario)


def test_limits_hold_for_it_as_well(real_lab: Lab, tmp_path: Path) -> None:
    async def work(terminal: Terminal) -> None:
        assert (await said(terminal))["stdout"] == b"77\r\n"

    limits = ProcessLimits(nofile=77)
    conversing(real_lab, tmp_path, program(["sh", "-c", "ulimit -n"], limits=limits), SIZE, work)


STUBBORN = "trap '' HUP TERM INT; (trap '' HUP TERM; setsid sleep 1000 & echo $! $$; wait)"


@pytest.mark.parametrize("size", [SIZE, None], ids=["terminal", "pipes"])
def test_nothing_outlives_who_hangs_up(real_lab: Lab, tmp_path: Path, size: Size | None) -> None:
    async def scenario(host: ProcessHost) -> None:
        terminal = await conversation(host, "k", program(["sh", "-c", STUBBORN]), size)
        pids = (await until(terminal, b"\n")).split()
        await terminal.aclose(0.4)
        assert len(pids) == 2
        assert not any(is_alive(int(pid)) for pid in pids)

    play(real_lab, tmp_path, scenario)


def test_what_it_leaves_behind_ends_with_it(real_lab: Lab, tmp_path: Path) -> None:
    async def work(terminal: Terminal) -> None:
        pid = int((await said(terminal))["stdout"])
        assert (await terminal.wait()).exit_code == 0
        assert not is_alive(pid)

    script = "trap '' HUP; setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"
    conversing(real_lab, tmp_path, program(["sh", "-c", script]), SIZE, work)


def test_a_terminal_belongs_to_whom_the_program_runs_as(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("root")

    async def work(terminal: Terminal) -> None:
        owner, answer = (await said(terminal))["stdout"].decode().replace("\r", "").splitlines()
        assert owner == "12345 12345 600"
        assert answer == "mine"

    script = "stat -L -c '%u %g %a' /dev/stdin; echo mine >/dev/tty"
    user = ProcessUser(uid=12345, gid=12345)
    conversing(PrivateLab(), tmp_path, program(["sh", "-c", script], user=user), SIZE, work)
