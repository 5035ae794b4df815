"""What few programs ask for, on real processes: limits."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from drivers.base import ProcessLimits
from runner.process.host import SupervisorHost
from tests import hostile
from tests.contract.process_labs import Sink, program
from tests.integration.surroundings.programs import play, refused, said

ROOT = Path(__file__).parents[3]

ALLOCATES = """
import mmap, os
file = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
os.ftruncate(file, 200 << 20)
read = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
reserved = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
shared = mmap.mmap(-1, 200 << 20)
small = b"x" * (20 << 20)
try:
    large = b"x" * (200 << 20)
except MemoryError:
    print("refused")
try:
    untouched = mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
except OSError:
    print("refused")
"""

THREADS = """
import threading
threading.stack_size(32 << 20)
go = threading.Event()
threads = [threading.Thread(target=go.wait) for _ in range(4)]
try:
    for thread in threads:
        thread.start()
except RuntimeError:
    print("refused")
go.set()
"""

# What the stack of its first thread has, in KiB, once something has been written far below its end.
FIRST_STACK = """
import ctypes, re
def stack(): return int(re.search("^([0-9a-f]+)-.*[[]stack[]]$", open("/proc/self/maps").read(), re.M)[1], 16)
bottom = stack() - (150 << 20)
while (page := stack()) > bottom:
    ctypes.memset(max(bottom, page - 4096), 1, 1)
print(re.search(r"VmStk:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""

# How often the supervisor forks for a program that asks for nothing, and for one that does.
FORKS = """
import os
from runner.process.supervisor import children
from runner.process.supervisor.processes import Mark

forks, fork = 0, os.fork
def counted():
    global forks
    forks += 1
    return fork()
os.fork = counted
limits = children.Limits()
for wanted in (None, {"nice": 19}):
    forks = 0
    program = children.Program(["true"], dict(os.environ), "/", limits=wanted)
    os.waitpid(children.spawn(program, limits, Mark("0" * 32, 0, "k")).pid, 0)
    print(forks)
"""


def test_memory_is_what_a_program_can_write_and_shares_with_nobody(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-c", ALLOCATES]
    assert said(tmp_path, argv) == ""
    assert said(tmp_path, argv, limits=ProcessLimits(memory=100 << 20)) == "refused\n" * 2


def test_memory_of_stacks_is_that_of_threads_but_the_first(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-c", THREADS]
    assert said(tmp_path, argv, limits=ProcessLimits(memory=200 << 20)) == ""
    assert said(tmp_path, argv, limits=ProcessLimits(memory=100 << 20)) == "refused\n"
    argv = ["sh", "-c", 'ulimit -s 200000; exec "$@"', "sh", sys.executable, "-I", "-c", FIRST_STACK]
    assert int(said(tmp_path, argv, limits=ProcessLimits(memory=100 << 20))) > 140 << 10


def test_memory_is_what_each_process_may_use_for_itself(tmp_path: Path) -> None:
    """Both have it at the same time: each tells, and then waits for the other."""
    code = """
import os
child = os.fork()
data = b"x" * (60 << 20)
one, other = ("w", "r") if child else ("r", "w")
with open("a", one), open("b", other):
    print(len(data) >> 20, flush=True)
if child:
    os.wait()
"""
    for name in ("a", "b"):
        os.mkfifo(tmp_path / name)
    argv = [sys.executable, "-I", "-c", code]
    text = said(tmp_path / "state", argv, cwd=str(tmp_path), limits=ProcessLimits(memory=100 << 20))
    assert text == "60\n60\n"


def test_memory_for_no_program_at_all(tmp_path: Path) -> None:
    """It is started, and ends: the kernel does not give it what its own code needs."""
    sink = Sink()

    async def scenario(host: SupervisorHost) -> None:
        spec = program([sys.executable, "-c", "print('alive')"], limits=ProcessLimits(memory=1 << 20))
        exit = await (await host.spawn("k", spec, sink)).wait()
        assert exit.exit_code != 0

    play(tmp_path, scenario)
    assert sink.data["stdout"] == b""


def test_open_files(tmp_path: Path) -> None:
    script = "ulimit -Sn; ulimit -Hn"
    assert said(tmp_path, ["sh", "-c", script], limits=ProcessLimits(nofile=123)) == "123\n123\n"


def test_more_open_files_than_possible(tmp_path: Path) -> None:
    assert "cannot allow 2147483647 open files: at most " in refused(tmp_path, limits=ProcessLimits(nofile=2**31 - 1))


def test_nice_and_oom_score(tmp_path: Path) -> None:
    limits = ProcessLimits(nice=19, oom_score_adj=1000)
    script = "nice; cat /proc/self/oom_score_adj; (setsid nice) ; cat /proc/self/autogroup 2>/dev/null || true"
    nice, score, inherited, *group = said(tmp_path, ["sh", "-c", script], limits=limits).splitlines()
    assert (nice, score, inherited) == ("19", "1000", "19")
    assert all(line.endswith(" nice 19") for line in group), "a session that is not nice makes its members' word void"


def test_limits_do_not_reach_the_supervisor_or_the_next_program(tmp_path: Path) -> None:
    limits = ProcessLimits(memory=64 << 20, nofile=50, nice=19, oom_score_adj=1000)
    sinks = [Sink(), Sink(), Sink()]
    script = "ulimit -n; ulimit -d; nice; cat /proc/self/oom_score_adj"

    async def scenario(host: SupervisorHost) -> None:
        for number, given in enumerate((None, limits, None)):
            spec = program(["sh", "-c", script], limits=given)
            await (await host.spawn(f"k{number}", spec, sinks[number])).wait()

    play(tmp_path, scenario)
    before, within, after = (sink.data["stdout"].decode().split() for sink in sinks)
    assert within == ["50", str(64 << 10), "19", "1000"]
    assert before == after
    assert before[0] == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_for_a_program_that_asks_for_nothing_there_is_no_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "0\n1\n", done.stderr


def test_one_with_limits_is_marked_and_stopped_like_any_other(tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        for name in ("has its own session and no environment", "ignores SIGTERM"):
            sink = Sink()
            spec = program(hostile.command(name), limits=ProcessLimits(nofile=64, memory=1 << 30))
            process = await host.spawn(name, spec, sink)
            await sink.until(b"ready ")
            assert hostile.alive(host.incarnation) != []
            await host.stop(name, 0.1)
            assert (await process.wait()).cause == "stopped"
            assert hostile.alive(host.incarnation) == []

    play(tmp_path, scenario)
