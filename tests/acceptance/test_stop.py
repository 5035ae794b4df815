"""Groups whose programs do not want to end, and whose supervisor is killed: what is left, and what is told."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.process.supervisor import processes
from tests import hostile
from tests.acceptance.command import RUNNER, Command, group

DAEMON = "has its own session and no environment"

# A runner whose grace is longer than anybody waits for it.
OF_LONG_GRACE = (
    sys.executable,
    "-c",
    """
import sys
from runner.cli import main
from runner.engine import engine

engine.GRACE_SECONDS = 1000.0
sys.exit(main())
""",
)


def task(name: str, program: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "os_exec", "spec": {"command": hostile.command(program)}, "template": False, **more}


def start(runner: Command, document: str, *, command: Sequence[str] = RUNNER) -> subprocess.Popen[bytes]:
    path = runner.write(document)
    said = subprocess.PIPE
    return runner.start("run", "--output", "json", path, command=command, stdout=said, stderr=said)


def until_ready(run: subprocess.Popen[bytes]) -> int:
    """The number that the program says, once it is where it wants to stay."""
    assert run.stderr is not None
    for line in run.stderr:
        if b"ready " in line:
            return hostile.pid_said(line)
    pytest.fail("it was never ready")


def result(run: subprocess.Popen[bytes]) -> Any:
    out, err = run.communicate(timeout=40)
    assert b"Traceback" not in err
    return json.loads(out)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def supervisor_of(run: subprocess.Popen[bytes]) -> int:
    (pid,) = (pid for pid in children(run.pid) if b"supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return pid


def test_cancel_ends_what_has_left_session_and_environment(runner: Command) -> None:
    run = start(runner, group([task("stays", DAEMON)]))
    pid = until_ready(run)
    os.kill(run.pid, signal.SIGINT)
    (ended,) = result(run)["results"].values()
    assert not hostile.is_alive(pid)
    assert ended["status"] == "aborted"
    assert ended["kill"]["left"] == []
    assert ended["kill"]["leftovers"] >= 1


@pytest.mark.parametrize("wanted", ["marker", "cgroup2"])
def test_the_containment_that_is_asked_for(runner: Command, require: Callable[[str], None], wanted: str) -> None:
    if wanted == "cgroup2":
        require("cgroup2")
    document = runner.write(group([task("stays", DAEMON, timeout=0.7)]))
    done = runner("run", "--output", "json", document, environment={"RUNNER_CONTAINMENT": wanted})
    (ended,) = done.json["results"].values()
    assert (ended["kill"]["containment"], ended["kill"]["left"]) == (wanted, [])
    assert ("survivors" in ended["kill"]) == (wanted == "cgroup2")


def test_a_containment_that_does_not_exist(runner: Command) -> None:
    done = runner("run", runner.write(group([])), environment={"RUNNER_CONTAINMENT": "docker"})
    assert (done.status, done.stdout) == (2, "")
    assert 'RUNNER_CONTAINMENT: expected auto, cgroup2 or marker, found "docker"' in done.stderr


def test_a_second_cancel_does_not_wait_for_the_grace(runner: Command) -> None:
    run = start(runner, group([task("stays", "ignores SIGTERM")]), command=OF_LONG_GRACE)
    pid = until_ready(run)
    os.kill(run.pid, signal.SIGINT)
    assert run.stderr is not None
    for line in run.stderr:
        if b"once more ends" in line:
            break
    os.kill(run.pid, signal.SIGINT)
    (ended,) = result(run)["results"].values()
    assert not hostile.is_alive(pid)
    assert ended["status"] == "aborted"
    assert [name for name, _ in ended["kill"]["signals"]] == ["SIGTERM", "SIGKILL"]


def test_a_timeout_ends_all_of_it(runner: Command) -> None:
    run = start(runner, group([task("stays", DAEMON, timeout=0.7)]))
    pid = until_ready(run)
    (ended,) = result(run)["results"].values()
    assert not hostile.is_alive(pid)
    assert (ended["status"], ended["reason"], ended["exit_code"]) == ("failed", "timeout", 124)


def test_fail_fast_ends_all_of_the_others(runner: Command, tmp_path: Path) -> None:
    gate = runner.folder / "gate"
    os.mkfifo(gate)
    fails = {"name": "fails", "type": "os_exec", "spec": {"command": f"read line < {shlex.quote(str(gate))}; exit 1"}}
    run = start(runner, group([task("stays", DAEMON), fails], failFast=True))
    pid = until_ready(run)
    gate.write_text("go\n")
    told = result(run)
    assert not hostile.is_alive(pid)
    assert (told["status"], told["results"]["stays"]["status"]) == ("failed", "aborted")


def test_a_supervisor_that_is_killed_is_replaced_and_listed_retries_apply(runner: Command) -> None:
    first = hostile.PROGRAMS[DAEMON].replace("stay()", "os.environ['RUNNER_TASK_ATTEMPT'] == '1' and stay()")
    again = task("again", DAEMON, retry={"attempts": 2, "on": ["supervisor_lost"]})
    again["spec"] = {"command": ["python3", "-I", "-S", "-c", hostile.HEAD + first]}
    later = {"name": "later", "type": "os_exec", "depends_on": ["again"], "spec": {"command": "true"}}
    run = start(runner, group([again, later]))
    pid = until_ready(run)
    os.kill(supervisor_of(run), signal.SIGKILL)
    told = result(run)
    assert told["status"] == "success", told
    assert told["results"]["again"]["attempts"] == 2
    assert not hostile.is_alive(pid)


def test_a_supervisor_that_is_killed_without_listed_retries(runner: Command) -> None:
    plain = task("plain", DAEMON, retry={"attempts": 3})
    cleans = {
        "name": "cleans",
        "type": "os_exec",
        "depends_on": ["plain"],
        "when": "always",
        "spec": {"command": "true"},
    }
    run = start(runner, group([plain, cleans]))
    pid = until_ready(run)
    supervisor = supervisor_of(run)
    os.kill(supervisor, signal.SIGKILL)
    told = result(run)
    ended = told["results"]["plain"]
    assert not hostile.is_alive(pid)
    assert (ended["status"], ended["reason"], ended["attempts"]) == ("errored", "supervisor_lost", 1)
    assert ended["error"] == "the supervisor that kept its processes ended, and they were ended with it"
    assert (ended["kill"]["left"], ended["kill"]["containment"]) == ([], "marker")
    assert told["results"]["cleans"]["status"] == "success", "another supervisor was started"
    assert processes.read(supervisor) is None


def test_what_a_task_leaves_is_ended_with_it(runner: Command) -> None:
    leaves = {
        "name": "leaves",
        "type": "os_exec",
        "spec": {"command": "setsid sleep 1000 >/dev/null 2>&1 & echo pid $!"},
    }
    done = runner("run", "--output", "json", runner.write(group([leaves])))
    assert done.status == 0
    (ended,) = done.json["results"].values()
    assert ended["kill"]["leftovers"] == 1
    pid = int(done.stderr.split("pid ")[1].split()[0])
    assert not hostile.is_alive(pid)
