"""What the runner leaves on a disk is for its user alone, and of no use without its key."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from runner.config import load_settings
from tests.acceptance.command import Command, group, shell
from tests.acceptance.test_kill import start_node, state

__all__ = ["state"]

SECRET = "a-value-that-nobody-may-read"

LOOK = 'find "$STATE" -printf "%m %y %P\\n"'
GROUP = group(
    [
        shell(
            "learn",
            f'echo {SECRET}; echo "word={SECRET}" >> "$OUTPUT_FILE"',
            exports=[{"name": "word", "confidential": True}],
        ),
        shell("fail", "exit 3", allow_failure=True),
        {
            "name": "look",
            "type": "os_exec",
            "imports": [{"from": "learn", "variable": "word"}],
            "spec": {
                "command": f"{LOOK}; umask",
                "envs": {"STATE": "{{ .inputs.state }}"},
                "files": {"word": "{{ .learn.word }}"},
            },
        },
    ],
    inputs={"state": {"required": True}, "key": {"confidential": True, "default": SECRET}},
)


def open_to_others(folder: Path) -> list[str]:
    """What in `folder` has another mode than it should, itself included."""
    wrong = []
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        if stat.S_IMODE(status.st_mode) != wanted:
            wrong.append(f"{stat.S_IMODE(status.st_mode):o} {path.relative_to(folder)}")
    return wrong


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_all_that_a_run_keeps_is_private(runner: Command, umask: int) -> None:
    kept = runner.folder.parent / "kept"
    before = os.umask(umask)
    try:
        done = runner("run", "--state-dir", str(kept), "--set", f"state={kept}", runner.write(GROUP))
    finally:
        os.umask(before)
    assert done.status == 0, done
    seen = [line.removeprefix("look   | ") for line in done.stdout.splitlines() if line.startswith("look   | ")]
    while_it_ran = {(mode, kind) for mode, kind, *_ in (line.split(" ") for line in seen[:-1])}
    assert while_it_ran == {("700", "d"), ("600", "f")}
    for part in ("key", "state.db-wal", "state.db-shm", "learn.1.log", "__pycache__", "supervisor.log"):
        assert any(part in line for line in seen), part
    assert int(seen[-1], 8) == umask, "tasks keep what their user has set"
    assert open_to_others(kept) == []


def test_all_that_a_node_keeps_is_private(tmp_path: Path, state: Path) -> None:
    for name in ("ready", "go"):
        os.mkfifo(tmp_path / name)
    script = 'echo hi; echo "x=1" > "$OUTPUT_FILE"; echo > ready; read x < go'
    document = tmp_path / "group.json"
    document.write_text(group([shell("one", script)]))
    before = os.umask(0)
    try:
        node = start_node(state, tmp_path, document)
    finally:
        os.umask(before)
    (tmp_path / "ready").read_text()
    assert open_to_others(state) == []
    temp = load_settings(state_dir=state).temp_dir(state)
    # Root's can be passed through, and not be read, by the users that its tasks may run as.
    assert open_to_others(temp) == (["711 ."] if os.geteuid() == 0 else [])
    (tmp_path / "go").write_text("\n")
    out, err = node.communicate(timeout=30)
    assert '"status": "success"' in out, err
    assert open_to_others(state) == []


def broken_key(key: Path, how: str) -> str:
    """Harm the key file; what the refusal has to say."""
    if how == "replaced":
        key.write_bytes(secrets.token_bytes(32))
        return f"but the key in the file {key} is"
    if how == "removed":
        key.unlink()
        return f"but the key in the file {key} is"
    if how == "cut":
        key.write_bytes(key.read_bytes()[:31])
        return f"the key file {key} has 31 bytes, a key has 32: put the right file back"
    key.chmod(0o640)
    return f"others may use the key file {key} (mode 0640): chmod 600 it"


@pytest.mark.timeout(60)
def test_without_its_key_a_run_is_refused_and_nothing_of_it_is_lost(runner: Command) -> None:
    stuck = 'printf %s "$WORD" | sha256sum; test "$RUNNER_TASK_ATTEMPT" = 2 || sleep 600'
    second = shell("second", stuck, imports=[{"from": "first", "variable": "word"}])
    second["spec"]["envs"] = {"WORD": "{{ .first.word }}"}
    second["retry"] = {"attempts": 2, "delay": 0, "on": ["supervisor_lost"]}
    learn = f'echo once >> started; echo "word={SECRET}" >> "$OUTPUT_FILE"'
    document = runner.write(group([shell("first", learn, exports=[{"name": "word", "confidential": True}]), second]))
    command = ("run", "--id", "again", document)
    process = runner.start(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = next(line for line in process.stdout if line.startswith(b"second  | "))
    process.send_signal(signal.SIGKILL)
    process.wait()
    [key] = runner.home.rglob("key")
    kept = key.read_bytes()
    for how in ("replaced", "removed", "cut", "open"):
        expected = broken_key(key, how)
        refused = runner(*command)
        assert refused.status == 1
        assert refused.stdout == ""
        assert refused.stderr.startswith("runner: ")
        assert expected in refused.stderr
        assert SECRET not in refused.stderr
        key.unlink()
        key.touch(mode=0o600)
        key.write_bytes(kept)
    done = runner(*command)
    assert done.status == 0, done
    assert done.stdout.encode().count(told) == 2, "the second attempt was given the same word"
    assert (runner.folder / "started").read_text() == "once\n"


def test_runs_that_begin_together_share_one_key(runner: Command) -> None:
    script = 'echo "word=$RUNNER_GROUP_ID" >> "$OUTPUT_FILE"'
    document = runner.write(group([shell("one", script, exports=[{"name": "word", "confidential": True}])]))
    processes = [
        runner.start("run", "--id", f"g{number}", document, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(4)
    ]
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, (out, err)
    [key] = runner.home.rglob("key")
    assert len(key.read_bytes()) == 32
    assert len(list(runner.home.rglob("state.db"))) == 4
    for number in range(4):
        again = runner("run", "--id", f"g{number}", document, "--reveal", "--output", "json")
        assert again.status == 0, again
