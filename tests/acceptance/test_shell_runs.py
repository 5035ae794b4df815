"""`runner shell` where a group still runs, or is about to go; and as whom."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.command import Command, group, shell
from tests.acceptance.screens import gate, open_gate
from tests.acceptance.shelling import is_alive, until, until_written


def test_what_runs_is_left_alone(runner: Command) -> None:
    slow = {
        **shell("slow", f"echo begun > begun; {gate(runner, 'go')}; echo x=own >> $OUTPUT_FILE"),
        "exports": [{"name": "x", "scope": "global"}],
    }
    process = runner.start("run", "--id", "it", "--output", "json", runner.write(group([slow])), stdout=-1, stderr=-1)
    until((runner.folder / "begun").exists)
    looked = runner("shell", "it", "slow", stdin=b"cat begun; echo x=others >> $OUTPUT_FILE; kill 0")
    assert looked.stdout == "begun\n"
    open_gate(runner, "go")
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert b'"x": "own"' in out or b'"own"' in out
    assert b"others" not in out


def test_a_workspace_that_is_about_to_go_ends_its_shells_first(runner: Command) -> None:
    document = group([shell("slow", f"echo begun > {runner.folder / 'begun'}; {gate(runner, 'go')}")])
    run = runner.start("run", "--isolated", "--id", "it", runner.write(document), stdout=-1)
    until((runner.folder / "begun").exists)
    looks = runner.start("shell", "it", "slow", stdin=-1)
    assert looks.stdin is not None
    looks.stdin.write(f"echo $$ > {runner.folder / 'pids'}\n".encode())
    looks.stdin.flush()
    pids = until_written(runner.folder / "pids")
    open_gate(runner, "go")
    run.communicate(timeout=40)
    assert run.returncode == 0
    assert looks.wait(40) == 128 + signal.SIGHUP
    assert not any(map(is_alive, pids))


def test_another_user_and_limits_hold_in_a_shell_too(require: Callable[[str], None]) -> None:
    require("root")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own cannot be entered by others
        Path(folder).chmod(0o755)
        work = Path(folder, "work")
        work.mkdir()
        runner = Command(folder=work)
        spec = {"command": "exit 1", "user": "12345:12345", "limits": {"nofile": 123}, "files": {"own": "text"}}
        assert runner("run", runner.write(group([{"name": "theirs", "type": "os_exec", "spec": spec}]))).status == 1
        script = b"id -u; id -g; ulimit -n; cat $FILE_OWN; echo x >> $OUTPUT_FILE && echo written"
        done = runner("shell", "@last", "theirs", stdin=script)
        assert done.stderr == ""
        assert done.stdout.split() == ["12345", "12345", "123", "textwritten"]
