"""A node is killed in the middle of a task, and the next one goes on: nothing is lost, and nothing runs twice. Ends with 0 when all of
that is so.

The second part of `make demo`, or `python examples/node_demo.py` where the command `runner` is on PATH.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 120
"""After which something hangs."""

ID = "nightly"
LOG = ["copied part 1", "copied part 2", "copied part 3", "copied part 4", "copied part 5", "copied part 6"]


class Stage:
    """Commands, shown as they are typed, with state and settings of their own; and what was not as it should be."""

    def __init__(self, folder: Path) -> None:
        self.faults: list[str] = []
        self._log = folder / "log"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
        self._environment |= {"XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "RUNNER_TO": "local"}

    def say(self, sentence: str) -> None:
        print(f"\n\033[1m{sentence}\033[0m" if sys.stdout.isatty() else f"\n{sentence}", flush=True)

    def expect(self, truth: bool, fault: str) -> None:
        if not truth:
            self.faults.append(f"node_demo.py: {fault}")

    @contextmanager
    def service(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """One that runs beside all else, and is ended at last."""
        with open(self._log, "ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        print(f"$ {shlex.join(command)} &    # process {process.pid}", flush=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def run(self, *command: str, shown: bool = True) -> str:
        if shown:
            print(f"$ {shlex.join(command)}", flush=True)
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False
        )
        if shown:
            print(done.stdout, end="", flush=True)
        self.expect(done.returncode == 0, f"`{shlex.join(command)}` ended with {done.returncode}")
        return done.stdout

    @contextmanager
    def followed(self, *command: str) -> Iterator[Iterator[str]]:
        """The lines of a command while it runs, each shown."""
        print(f"$ {shlex.join(command)}", flush=True)
        process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        patience = threading.Timer(SECONDS, process.kill)
        patience.start()
        assert process.stdout is not None
        try:
            yield map(_shown, process.stdout)
            self.expect(process.wait() == 0, f"`{shlex.join(command)}` ended with {process.returncode}")
        finally:
            patience.cancel()
            process.kill()
            process.wait()
            process.stdout.close()

    def until_there(self, path: Path, what: str) -> None:
        """Wait for a file."""
        until = time.monotonic() + SECONDS
        while not path.exists():
            if time.monotonic() > until:
                raise TimeoutError(f"{what} was not there after {SECONDS} s:\n{self._log.read_text()}")
            time.sleep(0.02)


def _shown(line: str) -> str:
    print(line, end="", flush=True)
    return line


def play(folder: Path) -> list[str]:
    """What was not as it should be."""
    stage = Stage(folder)
    dead, state = folder / "dead", folder / "runner"
    stage.say("A node, and the supervisor that owns the tasks' processes. Somebody submits a group and looks on.")
    with stage.service("runner", "supervisor", "--state-dir", str(state)):
        stage.until_there(state / "supervisor.sock", "the supervisor")
        with stage.service("runner", "serve") as node:
            stage.until_there(state / "runner.sock", "the node")
            submit = ("runner", "submit", "--follow", "--id", ID, "--set", f"dead={dead}", "examples/backup.yaml")
            with stage.followed(*submit) as lines:
                said = _until(lines, "copied part 3")
                stage.say(
                    "In the middle of the task the node is killed. The task goes on, and ends while there is none."
                )
                print(f"$ kill -9 {node.pid}", flush=True)
                node.kill()
                node.wait()
                dead.touch()
                stage.until_there(Path(f"{dead}.copied"), "the end of the task")
                stage.say("The next node goes on. Who looked on sees the rest, and each line once.")
                with stage.service("runner", "serve"):
                    said += list(lines)
                    _examine(stage, said)
    return stage.faults


def _until(lines: Iterator[str], text: str) -> list[str]:
    said = []
    for line in lines:
        said.append(line)
        if text in line:
            break
    return said


def _examine(stage: Stage, said: list[str]) -> None:
    shown = [line.split("| ")[-1].strip() for line in said if "copied part" in line]
    stage.expect(shown == LOG, f"who looked on saw {shown}")
    stage.expect(any("verify -- success" in line for line in said), "`verify` did not succeed")
    stage.say("The log is whole, and the task was started once.")
    kept = stage.run("runner", "logs", ID, "copy").splitlines()
    stage.expect(kept[1:] == LOG, f"the log is {kept}")
    stage.run("runner", "events", ID)
    events = [
        json.loads(line) for line in stage.run("runner", "events", ID, "--output", "json", shown=False).splitlines()
    ]
    starts = [event for event in events if event["kind"] == "task_started" and event["task"] == "copy"]
    stage.expect(len(starts) == 1, f"`copy` was started {len(starts)} times")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="runner-demo-") as folder:
        try:
            faults = play(Path(folder))
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            faults = [f"node_demo.py: {error}"]
    print()
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print("The node was killed, and nothing was lost or done twice.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
