"""`kill -9` in the middle of a group loses nothing that the store had accepted, and starts nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runner.config import load_settings
from runner.logs.files import FileLogStore
from runner.model.dispatch import AttemptId
from runner.process.host import SupervisorHost
from runner.sealing import Sealer
from tests.acceptance.command import Command, group, shell

NODE = Path(__file__).with_name("node_process.py")
TASKS = 30


def _document(folder: Path) -> Path:
    """Layers of three; every task leaves one line in a file and some in its log."""
    tasks = []
    for index in range(TASKS):
        layer, place = divmod(index, 3)
        parents = [f"t{(layer - 1) * 3 + other}" for other in range(3) if other != place] if layer else []
        tasks.append(
            {
                "name": f"t{index}",
                "type": "os_exec",
                "depends_on": parents,
                "spec": {"command": f"echo t{index} >> started; echo one-{index}; sleep 0.1{place}; echo two-{index}"},
            }
        )
    path = folder / "group.json"
    path.write_text(json.dumps({"name": "kill", "taskGroup": tasks}))
    return path


def start_node(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, NODE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state of a long-lived node. Its supervisor would wait for the next node while that state is there."""
    state = tmp_path / "state"
    yield state
    for pid in _alive(str(state)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while _alive(str(state)):
        time.sleep(0.01)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_is_killed_again_and_again_finishes_its_group(tmp_path: Path, state: Path, seed: int) -> None:
    chance = random.Random(seed)
    workspace = tmp_path / "work"
    workspace.mkdir()
    node = start_node(state, workspace, _document(tmp_path))
    assert node.stdout is not None
    accepted = node.stdout.readline()
    assert accepted.startswith("accepted "), node.communicate()
    kills = 0
    while True:
        try:
            out, err = node.communicate(timeout=chance.uniform(0.1, 0.5) if kills < 8 else 60)
            break
        except subprocess.TimeoutExpired:
            node.send_signal(signal.SIGKILL)
            node.communicate()
            kills += 1
            node = start_node(state, workspace)
    assert node.returncode == 0, err
    assert kills >= 2, "the group was over before it was disturbed"
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert result["status"] == "success", result
    assert {task["attempts"] for task in result["results"].values()} == {1}
    started = Counter((workspace / "started").read_text().split())
    assert started == Counter({f"t{index}": 1 for index in range(TASKS)})
    assert asyncio.run(_remembered(state)) == (), "the supervisor keeps what nobody will ask for"
    assert not load_settings(state_dir=state).temp_dir(state).exists(), "what tasks exported is still there"


async def _remembered(state: Path) -> Sequence[str]:
    async with await SupervisorHost.connect(state, idle_seconds=0.1) as host:
        return await host.list()


def test_what_a_lost_attempt_made_confidential_is_masked_and_its_files_go(tmp_path: Path, state: Path) -> None:
    """The runner is killed, then the supervisor: nobody is left who has seen what the attempt said and exported."""
    workspace, ready = tmp_path / "work", tmp_path / "ready"
    workspace.mkdir()
    said = "echo asked-for and exported-text; echo ::add-mask::asked-for; echo token=exported-text > $OUTPUT_FILE"
    exports = [{"name": "token", "confidential": True}]
    task = shell("lost", f"{said}; echo > {ready}; sleep 1000", exports=exports)
    document = tmp_path / "group.json"
    document.write_text(group([task]))
    node = start_node(state, workspace, document)
    assert node.stdout is not None
    id = node.stdout.readline().split()[1]
    log = state / "logs" / id / "lost.1.log"
    while not ready.exists() or not log.exists() or b"::add-mask::***" not in log.read_bytes():
        assert node.poll() is None
        time.sleep(0.01)
    node.kill()
    node.communicate()
    assert b"asked-for" in log.read_bytes()
    os.kill(asyncio.run(_supervisor(state)), signal.SIGKILL)
    out, err = start_node(state, workspace).communicate(timeout=30)
    (task,) = json.loads(out)["results"].values()
    assert (task["status"], task["reason"]) == ("errored", "supervisor_lost"), err
    logs = FileLogStore(state / "logs", sealer=Sealer.open_or_create(state / "key"))
    assert logs.read(AttemptId(id, "lost", 1), "stdout") == b"*** and ***\n::add-mask::***\n"
    assert b"asked-for" not in log.read_bytes()
    assert not load_settings(state_dir=state).temp_dir(state).exists()


async def _supervisor(state: Path) -> int:
    async with await SupervisorHost.connect(state) as host:
        return host.pid


def _alive(marker: str) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in command:
                found.append(int(entry))
    return found


def test_a_killed_run_leaves_no_process_and_goes_on_under_its_id(tmp_path: Path) -> None:
    marker = f"31{random.randrange(10**6):06}"
    document = tmp_path / "group.yaml"
    document.write_text(
        f"""
        taskGroup:
        - name: first
          type: os_exec
          spec: {{command: echo first >> started}}
        - name: second
          type: os_exec
          depends_on: first
          retry: {{attempts: 2, on: [supervisor_lost]}}
          spec:
            command: |
              echo second >> started
              test "$RUNNER_TASK_ATTEMPT" = 2 || sleep {marker}
        """
    )
    command = [
        sys.executable,
        "-c",
        "import sys; from runner.cli import main; sys.exit(main())",
        "run",
        "--id",
        "again",
        "--state-dir",
        str(tmp_path / "state"),
        "--output",
        "json",
    ]
    command.append(str(document))
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not _alive(marker):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.kill()
    run.communicate()
    while _alive(marker):
        assert time.monotonic() < deadline, "the task outlived its runner"
        time.sleep(0.01)
    settings = load_settings(state_dir=tmp_path / "state")
    while settings.temp_dir(settings.run_dir("again")).exists():
        assert time.monotonic() < deadline, "what tasks exported outlived its runner"
        time.sleep(0.01)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=30)
    result = json.loads(again.stdout)
    assert (again.returncode, result["status"]) == (0, "success"), again.stderr
    assert result["results"]["first"]["attempts"] == 1
    assert result["results"]["second"]["attempts"] == 2
    assert (tmp_path / "started").read_text().split() == ["first", "second", "second"]


def test_a_killed_run_goes_on_in_its_own_workspace_and_removes_it(runner: Command) -> None:
    stuck = 'cat made; test "$RUNNER_TASK_ATTEMPT" = 2 || sleep 600'
    retry = {"attempts": 2, "delay": 0, "on": ["supervisor_lost"]}
    document = runner.write(
        group([shell("first", "echo one > made"), shell("second", stuck, depends_on=["first"], retry=retry)])
    )
    command = ("run", "--isolated", "--id", "again", document)
    process = runner.start(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    next(line for line in process.stdout if line == b"second  | one\n")
    process.kill()
    process.wait()
    [left] = runner.home.rglob("workspace")
    done = runner(*command)
    assert done.status == 0, done
    assert done.stdout.splitlines().count("second  | one") == 2
    assert not left.exists()
