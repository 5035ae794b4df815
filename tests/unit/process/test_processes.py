"""What /proc tells of processes."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.process.supervisor import processes
from runner.process.supervisor.processes import Mark, Process

ROOT = Path(__file__).parents[3]
INCARNATION = "0123456789abcdef" * 2

# Children whose numbers fill more than one page of the kernel's list.
MANY = """
import os, signal
from runner.process.supervisor.subreaper import Children
children = Children()
assert children.read() == []
pids = []
for _ in range(1200):
    pid = os.fork()
    if pid == 0:
        signal.pause()
    pids.append(pid)
assert children.read() == pids
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
assert children.read() == []
"""

# No process of it lives for longer than a moment. FIRST is done at the start, LAST before each look.
FLEETING = """
import os, signal, time
from runner.process.supervisor import processes
FIRST
child = os.fork()
if child == 0:
    os.setsid()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(PAUSE)
        if os.fork():
            os._exit(0)
    os._exit(0)
os.waitpid(child, 0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as an init does: what has ended must not keep its number
for look in range(50):
    LAST
    found = processes.members(lambda process: process.session == child or None)
    assert found, look
while found:
    found = processes.members(lambda process: process.session == child or None, processes.halt)
    processes.kill(found)
"""

# While it is looked at, a process ends, and its number is given to another one.
REUSED = """
import os, signal, time
from runner.process.supervisor import processes

def child():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid

def give_next(number):
    open('/proc/sys/kernel/ns_last_pid', 'w').write(str(number - 1))

first, born = child(), []
started = processes.read(first).started
give_next(int(open('/proc/sys/kernel/pid_max').read()) - 1)
child()

def owner(process):
    if process.pid == first and not born:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        while time.clock_gettime(time.CLOCK_BOOTTIME) * processes.TICKS_PER_SECOND < started + 2:
            pass
        give_next(first)
        born.append(child())
        return None
    return 'it' if process.pid in born else None

found = processes.members(owner)
assert born == [first]
assert [process.pid for process in found] == born
"""

# Its first thread ends, and another one goes on.
WITHOUT_FIRST_THREAD = """
import ctypes, threading
threading.Thread(target=threading.Event().wait).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def fleeting(first: str, last: str, pause: float) -> list[str]:
    code = FLEETING.replace("FIRST", first).replace("LAST", last).replace("PAUSE", str(pause))
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01])
def test_a_program_that_forks_and_ends_again_and_again_is_found_by_each_look(pause: float) -> None:
    done = subprocess.run(fleeting("pass", "pass", pause), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_is_found_when_the_numbers_begin_anew_as_well(require: Callable[[str], None]) -> None:
    require("mount")  # and so namespaces: these would be the numbers of all otherwise
    first = """
for _ in range(300):
    if os.fork() == 0:
        signal.pause()  # so that a look takes its time
greatest = int(open("/proc/sys/kernel/pid_max").read()) - 1
"""
    last = "open('/proc/sys/kernel/ns_last_pid', 'w').write(str(greatest - look % 4))"
    own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *fleeting(first, last, 0.001)]
    done = subprocess.run(own, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_that_is_given_the_number_of_another_while_that_is_looked_at(require: Callable[[str], None]) -> None:
    require("mount")
    own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", REUSED]
    done = subprocess.run(own, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_walk_is_over_soon_however_the_numbers_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may can set the next number back, and then very many lie between."""
    numbers = itertools.cycle([1000, 5])
    monkeypatch.setattr(processes, "_last_number", lambda: next(numbers))
    monkeypatch.setattr(processes, "_greatest_number", lambda: 1 << 40)
    read: list[int] = []
    monkeypatch.setattr(processes, "read", read.append)
    processes.members(lambda process: None)
    assert len(read) <= processes._FOLLOWED + 2 * len(os.listdir("/proc"))


def test_marks_differ_and_are_of_their_life() -> None:
    marks = [Mark(INCARNATION, serial, "g/t/1") for serial in (0, 1, (1 << 26) - 1)]
    other = Mark("fedcba9876543210" * 2, 0, "g/t/1")
    limits = {mark.limit for mark in (*marks, other)}
    assert len(limits) == 4
    assert all(1 << 62 <= limit < 1 << 63 for limit in limits)
    assert len({limit >> 26 for limit in limits}) == 2
    assert marks[0].text != other.text


def test_a_name_may_contain_anything(tmp_path: Path) -> None:
    program = tmp_path / ") S 1 1 ("
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "1000"])
    try:
        found = processes.read(child.pid)
        while found is not None and found.name != program.name:  # it is still on its way to its program
            found = processes.read(child.pid)
        assert found is not None
        assert (found.pid, found.parent, found.session) == (child.pid, os.getpid(), os.getsid(0))
        assert found.described()["name"] == program.name
    finally:
        child.kill()
        child.wait()
    assert processes.read(child.pid) is None


def test_a_dead_process_is_none_before_it_is_waited_for() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.read(child.pid) is None
    child.wait()


def test_the_mark_in_an_environment_is_the_whole_name() -> None:
    environments = [{"XRUNNER_TASK_ID": "a"}, {"A": "RUNNER_TASK_ID=b"}, {"RUNNER_TASK_ID": "c"}, {}]
    children = [subprocess.Popen(["/bin/sleep", "1000"], env=env) for env in environments]
    try:
        assert [processes.text_of(child.pid) for child in children] == [None, None, "c", None]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert processes.text_of(children[0].pid) is None


def test_a_process_whose_first_thread_has_ended_has_its_marks() -> None:
    mark = Mark(INCARNATION, 7, "g/t/1")
    child = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_FIRST_THREAD],
        env={"RUNNER_TASK_ID": mark.text},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        child.stdout.readline()
        resource.prlimit(child.pid, resource.RLIMIT_RTTIME, (mark.limit, resource.RLIM_INFINITY))
        while (found := processes.read(child.pid)) is not None and found.state != "Z":
            pass
        assert found is not None
        assert (processes.text_of(child.pid), processes.limit_of(child.pid)) == (mark.text, mark.limit)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_members_are_found_through_their_ancestors() -> None:
    child = subprocess.Popen(["sh", "-c", "sh -c 'sleep 1000 & echo; wait' & wait"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        told: list[Process] = []
        found = processes.members(lambda process: "it" if process.pid == child.pid else None, told.append)
        assert len(found) == 3
        assert sorted(told, key=id) == sorted(found, key=id), "each at once, and once"
        assert processes.members(lambda process: "all" if process.pid == os.getpid() else None) == {}
    finally:
        processes.kill(found)
        child.wait()
        child.stdout.close()


def test_the_list_of_children_is_complete() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
