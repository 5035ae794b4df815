"""What another user cannot read, and what only root can give."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.config import load_settings
from tests.acceptance.command import RUNNER, group

ROOT = Path(__file__).parents[3]

CURIOUS = """
while ! [ -s pid ]; do sleep 0.05; done
cat {state}/key || echo no key
ls {state}/runs || echo no runs
cat {temp}/*/*.files/* || echo no files
for process in /proc/[0-9]*; do
    case "$(cat $process/cmdline | tr '\\0' ' ')" in *runner*|*supervisor*|*sleeper*) cat $process/environ $process/mem $process/fd/0 | grep -ao canary-. || true; esac
done
kill -9 $(cat pid) || echo no signal
"""


def test_what_another_user_cannot_read(open_path: Path) -> None:
    """The runner's state and its key, and the files, the environments, the memory and what is read of the runner and of its other tasks."""
    state = open_path / "state"
    settings = load_settings({"HOME": str(open_path)}, state_dir=state)
    stays = "echo $$ > pid; exec -a sleeper sleep 1000"
    tasks: list[dict[str, Any]] = [
        {
            "name": "other",
            "type": "os_exec",
            "spec": {
                "command": ["bash", "-c", stays],
                "envs": {"A": "canary-1"},
                "files": {"b": "canary-2"},
                "stdin": "canary-3",
            },
        },
        {
            "name": "curious",
            "type": "os_exec",
            "template": False,
            "spec": {"command": CURIOUS.format(state=state, temp=settings.temp_parent), "user": "nobody"},
        },
    ]
    (open_path / "group.json").write_text(group(tasks, failFast=False))
    environment = {"HOME": str(open_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    argv = [*RUNNER, "run", "group.json", "--state-dir", str(state)]
    run = subprocess.Popen(
        argv, cwd=open_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.stdout is not None
    said = ""
    try:
        for line in run.stdout:
            said += line
            if line.startswith("curious -- ") and "started" not in line:
                break
    finally:
        run.kill()
        run.communicate()
    assert "curious -- success" in said
    for refused in ("no key", "no runs", "no files", "no signal"):
        assert f"| {refused}\n" in said
    assert "canary" not in said


NOT_ROOT = """
import asyncio, os, sys, tempfile
from drivers.base import ProcessLimits, ProcessUser
from runner.errors import StartError
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program

async def main():
    own = ProcessUser(uid=os.getuid(), gid=os.getgid())
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        async with await SupervisorHost.start_private(folder) as host:
            for spec in (
                {"user": ProcessUser(uid=int(sys.argv[1]), gid=0)},
                {"limits": ProcessLimits(nice=-5)},
                {"limits": ProcessLimits(oom_score_adj=-500)},
                {"limits": ProcessLimits(nofile=2**31 - 1)},
            ):
                try:
                    await host.spawn("k", program(["true"], **spec), Sink())
                except StartError as error:
                    print(error.exit_code, error.message)
            sink = Sink()
            process = await host.spawn("own", program(["id", "-u"], user=own, limits=ProcessLimits(nice=19)), sink)
            await process.wait()
            assert int(sink.data["stdout"]) == os.getuid()

asyncio.run(main())
"""


def test_what_only_root_can_give(require: Callable[[str], None]) -> None:
    """Where the test is root itself, it runs without any of root's capabilities."""
    drop = []
    if os.geteuid() == 0:
        require("setpriv")
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    argv = [*drop, sys.executable, "-c", NOT_ROOT, str(os.geteuid() + 1)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    became, nice, score, files = done.stdout.splitlines()
    assert became.startswith("125 cannot run as the user ")
    assert became.endswith("Operation not permitted; the runner has to be root")
    assert nice.startswith("125 cannot set nice to -5: ")
    assert score.startswith("125 cannot set oom_score_adj to -500: ")
    assert files.startswith("125 cannot allow 2147483647 open files: at most ")
