"""Programs that do not want to be ended, and how to see whether anything of them lives."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runner.process.supervisor import cgroups, processes

HEAD = """
import os, sys, time, signal, ctypes
def say(text): os.write(1, text.encode() + b"\\n")
def stay():
    while True: time.sleep(1000)
def quiet():
    null = os.open("/dev/null", os.O_RDWR)
    for end in (0, 1, 2): os.dup2(null, end)
def bare(code): os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
STAY = "import time\\nwhile True: time.sleep(1000)"
"""

# Each says `ready <pid of what must end>` and stays, its first process as the one that gets SIGTERM.
PROGRAMS: Mapping[str, str] = {
    "ignores SIGTERM": """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(f"ready {os.getpid()}")
stay()
""",
    "has forked twice": """
if os.fork() == 0:
    if os.fork() == 0:
        say(f"ready {os.getpid()}")
        stay()
    os._exit(0)
os.wait()
stay()
""",
    "has its own session and no environment": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        say(f"ready {os.getpid()}")
        quiet()
        bare(STAY)
    os._exit(0)
os.wait()
stay()
""",
    "forks and ends again and again": """
if os.fork() == 0:
    os.setsid()
    say(f"ready {os.getpid()}")
    quiet()
    bare("import os, time\\nuntil = time.monotonic() + 60\\nwhile time.monotonic() < until:\\n if os.fork(): os._exit(0)\\n os.setsid()")
stay()
""",
    "forks again and again": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def loop(depth):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if os.fork() == 0:
            os.setsid()
            if depth: loop(depth - 1)
            time.sleep(0.02)
            os._exit(0)
        time.sleep(0.001)
if os.fork() == 0:
    os.setsid()
    say(f"ready {os.getpid()}")
    quiet()
    loop(1)
    os._exit(0)
stay()
""",
    "restarts what is ended": """
def watched():
    while True:
        child = os.fork()
        if child == 0: os.setsid(); stay()
        os.waitpid(child, 0)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        quiet()
        watched()
say(f"ready {os.getpid()}")
stay()
""",
    "is stopped": """
if os.fork() == 0:
    os.setsid()
    say(f"ready {os.getpid()}")
    os.kill(os.getpid(), signal.SIGSTOP)
    stay()
stay()
""",
    "has stopped itself": """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(f"ready {os.getpid()}")
os.kill(os.getpid(), signal.SIGSTOP)
stay()
""",
    "is traced by its own": """
traced = os.getpid()
tracer = os.fork()
if tracer == 0:
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(16, traced, None, None) != 0: say(f"untraced {ctypes.get_errno()}")  # PTRACE_ATTACH
    else: say(f"ready {traced}")
    stay()
stay()
""",
}


# What carries no mark at all: it has left its session, emptied its environment and lost the limit.
ESCAPES = """
import resource
if os.fork() == 0:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_RTTIME, (resource.RLIM_INFINITY,) * 2)
    if os.fork() == 0:
        say(f"ready {os.getpid()}")
        quiet()
        bare(STAY)
    os._exit(0)
os.wait()
stay()
"""

# What carries a mark that no attempt has, and is ready once it has executed itself with that.
FORGES: Mapping[str, str] = {
    kind: f"""
import resource
given, most = resource.getrlimit(resource.RLIMIT_RTTIME)
if os.fork() == 0:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_RTTIME, ({limit}, most))
    if os.fork() == 0:
        env = {env}
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", "import os\\nprint('ready', os.getpid(), flush=True)\\n" + STAY], env)
    os._exit(0)
os.wait()
stay()
"""
    for kind, limit, env in (
        ("limit", "given + 12345", "{}"),
        ("text", "most", "{'RUNNER_TASK_ID': os.environ['RUNNER_TASK_ID'].partition('/')[0] + '/nobody'}"),
    )
}


def python(code: str) -> list[str]:
    """A program that may use what HEAD has."""
    return ["python3", "-I", "-S", "-c", HEAD + code]


def command(name: str) -> list[str]:
    return python(PROGRAMS[name])


async def until_bare(pid: int) -> None:
    """Until it has executed itself with an empty environment."""
    while Path(f"/proc/{pid}/environ").read_bytes():  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.005)


def rooms(incarnation: str) -> list[str]:
    """What is left of the control groups of this life of a supervisor."""
    return [room.path for room in cgroups.former(incarnation)]


def alive(incarnation: str) -> list[str]:
    """All processes that descend from what this life of a supervisor has started, by any mark."""
    found = processes.members(lambda process: processes.mark_of(process.pid, incarnation))
    return [f"{process.pid} {process.name} {process.state}" for process in found]


def is_alive(pid: int) -> bool:
    return processes.read(pid) is not None


def zombies_of(pid: int) -> int:
    """How many dead children this process has not waited for."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(not is_alive(int(child)) for child in children)


def pid_said(output: bytes) -> int:
    return int(output.split(b"ready ", 1)[1].split()[0])


def idle_tracer(pid: int) -> subprocess.Popen[bytes]:
    """A process that traces another and never looks at it, so that it cannot be waited for by anybody else."""
    code = (
        HEAD
        + f"""
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
assert libc.ptrace(16, {pid}, None, None) == 0
say("traced")
stay()
"""
    )
    tracer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert tracer.stdout is not None
    tracer.stdout.readline()
    tracer.stdout.close()
    return tracer
