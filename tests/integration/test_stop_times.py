"""Stopping at every moment of a start, and where the system offers less."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import StartError
from runner.process.host import SupervisorHost
from runner.process.launch import Containment
from runner.process.supervisor import processes
from tests import apart, hostile
from tests.acceptance.command import group
from tests.contract.process_labs import Sink, program

ROOT = Path(__file__).parents[2]
DAEMON = "has its own session and no environment"

# A supervisor that was started with less than others get, and what is alive of its hostile programs after their stop.
LIMITED = """
import asyncio, resource, sys
from runner.process.host import SupervisorHost
from tests import hostile
from tests.contract.process_labs import Sink, program

resource.setrlimit(resource.RLIMIT_RTTIME, (10**9, 10**9))

async def main():
    async with await SupervisorHost.start_private(sys.argv[1], containment=sys.argv[2]) as host:
        pids = []
        for name in hostile.PROGRAMS:
            sink = Sink()
            process = await host.spawn(name, program(hostile.command(name)), sink)
            await sink.until(b"ready ")
            pids.append(hostile.pid_said(sink.data["stdout"]))
            await host.stop(name, 0.1)
            assert (await process.wait()).kill["left"] == []
        print([pid for pid in pids if hostile.is_alive(pid)], hostile.alive(host.incarnation))

asyncio.run(main())
"""

# The supervisor's table where orphans go to init, and the kernel does not tell who the children of a process are.
ALONE = """
import os, select, time
from runner.process.supervisor.children import Program
from runner.process.supervisor.output import Outputs
from runner.process.supervisor.subreaper import Children
from runner.process.supervisor.table import Table
from tests import hostile

incarnation = os.urandom(16).hex()
outputs = Outputs(select.epoll(), lambda message, descriptors: None, os.close)
table = Table(incarnation, lambda record: None, outputs, Children("/no/such/file"))
for key in ("first", "second"):
    records = [table.spawn(key, Program(["sh", "-c", "setsid sleep 1000 & sleep 1000"], dict(os.environ), "/"), None, 1.0)]
time.sleep(0.3)
for record in records:
    table.stop(record, 0.2)
table.stop_all(0.2)
while table.running:
    table.reap()
    table.run_due()
print(hostile.alive(incarnation))
"""


# How often /proc is looked through for an attempt that leaves nothing, and for one that does.
LOOKS = """
import os, select
from runner.process.supervisor import subreaper
from runner.process.supervisor.children import Program
from runner.process.supervisor.output import Outputs
from runner.process.supervisor.table import Table

assert subreaper.become()
looks = 0
listdir = os.listdir
def counted(path="."):
    global looks
    looks += path == "/proc"
    return listdir(path)
os.listdir = counted

outputs = Outputs(select.epoll(), lambda message, descriptors: None, os.close)
table = Table(os.urandom(16).hex(), lambda record: None, outputs)
told = []
for script in ("true", "sleep 0.01 & wait", "setsid sleep 1000 & sleep 0.05"):
    looks = 0
    table.spawn(script, Program(["sh", "-c", script], dict(os.environ), "/"), None, 1.0)
    while table.running:
        table.reap()
        table.run_due()
    told.append(looks)
print(*told)
"""


def python(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_a_limit_that_marks(tmp_path: Path, containment: Containment) -> None:
    """What carries no mark at all is known to be of the only attempt that runs."""
    assert python(LIMITED, str(tmp_path), containment) == "[] []"


def test_without_adoption_and_without_a_list_of_children() -> None:
    assert python(ALONE) == "[]"


def test_proc_is_looked_through_only_where_something_is_left() -> None:
    nothing, none, left = map(int, python(LOOKS).split())
    assert (nothing, none) == (0, 0)
    assert left >= 8, "two lists each: three that find nothing, behind one that finds it"


@pytest.mark.parametrize("name", hostile.PROGRAMS)
def test_stopped_while_it_starts(tmp_path: Path, containment: Containment, name: str) -> None:
    async def main() -> None:
        chance = random.Random(name)
        async with (
            asyncio.timeout(50),
            await SupervisorHost.start_private(tmp_path, containment=containment) as host,
        ):
            for number in range(8):
                process = await host.spawn(f"k{number}", program(hostile.command(name)), Sink())
                if number:
                    await asyncio.sleep(chance.uniform(0, 0.06))
                await host.stop(f"k{number}", 0.02)
                exit = await process.wait()
                assert hostile.alive(host.incarnation) == []
                assert exit.kill is not None
                assert exit.kill["left"] == []
                if "again and again" not in name:  # of a loop of forks that is too fast nothing is claimed
                    assert exit.kill["containment"] == containment, "what is young is put into a control group first"

    asyncio.run(main())


def test_stop_and_forget_beside_the_start(tmp_path: Path, containment: Containment) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(30),
            await SupervisorHost.start_private(tmp_path, containment=containment) as host,
        ):
            starting = asyncio.ensure_future(host.spawn("k", program(hostile.command(DAEMON)), Sink()))
            await asyncio.sleep(0)
            await asyncio.gather(host.stop("k", 10.0), host.forget("k"))
            await (await starting).wait()
            assert hostile.alive(host.incarnation) == []
            with pytest.raises(StartError):
                await host.spawn("none", program(["/no/such/program"]), Sink())
            await host.stop("none", 0.0)
            assert await host.list() == ()

    asyncio.run(main())


@pytest.mark.parametrize(("missing", "error"), [("pidfd_open", errno.ENOSYS), ("pidfd_send_signal", errno.EPERM)])
def test_without_pidfd(missing: str, error: int, require: Callable[[str], None]) -> None:
    require("seccomp")

    def work() -> None:
        assert ended_by_kill_of(another=True) == -signal.SIGTERM
        assert ended_by_kill_of(another=False) == -signal.SIGKILL

    apart.run(work, apart.without(missing, error=error))


def test_a_number_that_is_used_again_is_not_signalled() -> None:
    assert ended_by_kill_of(another=True) == -signal.SIGTERM
    assert ended_by_kill_of(another=False) == -signal.SIGKILL


def ended_by_kill_of(*, another: bool) -> int:
    """How a process has ended that `processes.kill` was called for, or for another one that had its number before: by the
    SIGTERM that comes behind it, if it was left alone. Whether it is alive says nothing, for an end takes its time."""
    sleeper = subprocess.Popen(["sleep", "1000"])
    process = processes.read(sleeper.pid)
    assert process is not None
    process.started -= another
    processes.kill([process])
    sleeper.terminate()
    code = sleeper.wait()
    processes.kill([process])  # of one that is gone nothing comes
    return code


def test_of_a_node_and_its_supervisor_that_are_killed_together_nothing_is_left(tmp_path: Path) -> None:
    state, workspace, document = tmp_path / "state", tmp_path / "work", tmp_path / "group.json"
    workspace.mkdir()
    ready = workspace / "ready"
    says = f"def say(text): open({str(ready)!r}, 'w').write(text + chr(10))"
    code = f"{hostile.HEAD}\n{says}\n{hostile.PROGRAMS[DAEMON]}"
    command = ["python3", "-I", "-S", "-c", code]
    document.write_text(group([{"name": "stays", "type": "os_exec", "spec": {"command": command}, "template": False}]))
    script = [sys.executable, "-m", "tests.acceptance.node_process", str(state), str(workspace)]
    node = subprocess.Popen([*script, str(document)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while not ready.exists() or not ready.read_text().endswith("\n"):
        assert node.poll() is None
        time.sleep(0.01)
    pid = hostile.pid_said(ready.read_bytes())

    async def supervisor() -> int:
        async with await SupervisorHost.connect(state) as host:
            return host.pid

    node.kill()
    node.communicate()
    os.kill(asyncio.run(supervisor()), signal.SIGKILL)
    assert hostile.is_alive(pid)
    again = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    (ended,) = json.loads(again.stdout)["results"].values()
    assert (ended["status"], ended["reason"]) == ("errored", "supervisor_lost")
    assert ended["kill"]["leftovers"] >= 1
    assert not hostile.is_alive(pid)
