"""The files that tasks are given, in whole runs: they are private, and gone when nobody needs them any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.config import load_settings
from tests.acceptance.command import Command, group
from tests.acceptance.test_kill import start_node, state

__all__ = ["state"]

SECRET = "kubeconfig-of-the-cluster-4711"
SHOW = 'stat -c "%a %F" "$FILE_KUBE_CONFIG" "$(dirname "$FILE_KUBE_CONFIG")"; cat "$FILE_KUBE_CONFIG"'


TELL = 'echo "path=$FILE_KUBE_CONFIG" > "$OUTPUT_FILE"'


def spec(command: str, content: str = "{{ .inputs.config }}") -> dict[str, Any]:
    return {
        "name": "t",
        "type": "os_exec",
        "spec": {"command": f"{command}; {TELL}", "files": {"kube-config": content}},
        "exports": [{"name": "path", "scope": "global"}],
    }


INPUTS = {"config": {"confidential": True, "required": True}}


def test_a_task_finds_its_file_and_it_goes_with_the_task(runner: Command) -> None:
    document = runner.write(group([spec(SHOW)], inputs=INPUTS))
    runner.write(SECRET + "\n", "config")
    done = runner("run", document, "--set-secret", "config=@config", "--output", "json")
    assert done.status == 0, done
    assert "600 regular file\nt  | 700 directory\nt  | ***\n" in done.stderr
    path = Path(done.json["results"]["t"]["outputs"]["path"])
    assert path.name == "kube-config"
    assert not path.parent.parent.exists()


def test_what_is_too_large_when_it_is_rendered_is_told(runner: Command) -> None:
    document = runner.write(group([spec("true", "{{ .inputs.config }}" * 5)], inputs=INPUTS))
    runner.write("ä" * (1 << 19), "config")
    done = runner("run", document, "--set-secret", "config=@config", "--output", "json")
    task = done.json["results"]["t"]
    assert (task["status"], task["reason"]) == ("errored", "bad_spec")
    assert task["error"].startswith("spec.files.kube-config: 5,242,880 bytes; a file may have 4,194,304")


def test_a_task_keeps_its_file_when_the_node_is_killed(tmp_path: Path, state: Path) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    for name in ("ready", "go"):
        os.mkfifo(workspace / name)
    document = tmp_path / "group.json"
    document.write_text(group([spec('echo > ready; read x < go; cat "$FILE_KUBE_CONFIG" > copy', SECRET)]))
    node = start_node(state, workspace, document)
    (workspace / "ready").read_text()
    node.send_signal(signal.SIGKILL)
    node.communicate()
    temp = load_settings(state_dir=state).temp_dir(state)
    [folder] = [entry for entry in temp.iterdir() if entry.name.endswith(".files")]
    again = start_node(state, workspace)
    (workspace / "go").write_text("\n")
    out, err = again.communicate(timeout=30)
    assert '"status": "success"' in out, err
    assert (workspace / "copy").read_text() == SECRET
    assert not folder.exists()
    assert not temp.exists()


def test_without_memory_to_write_to_it_is_said_where_they_lie(runner: Command, require: Callable[[str], None]) -> None:
    require("mount")
    disk, temp = runner.folder.parent / "disk", runner.folder.parent / "temp"
    disk.mkdir()
    temp.mkdir()
    document = runner.write(group([spec(SHOW, SECRET)]))
    command = (sys.executable, "-c", "import sys; from runner.cli import main; sys.exit(main())", "run", document)
    hide = 'for folder in /dev/shm /run; do mount --bind "$DISK" "$folder"; done; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-e", "-c", hide, "sh", *command],
        cwd=runner.folder,
        env={**runner.environment, "DISK": str(disk), "TMPDIR": str(temp)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done
    assert (
        f"no folder in memory (tmpfs) was found: what tasks export, and the files that they are given, lie in {temp}/"
        in done.stderr
    )
    assert "600 regular file\nt  | 700 directory\n" in done.stdout
    assert f"t.path = {temp}/runner-{os.geteuid()}-" in done.stdout
    assert list(temp.iterdir()) == []
    assert list(disk.iterdir()) == []
