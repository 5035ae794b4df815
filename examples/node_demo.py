"""A node is killed in the middle of a task, and the next one goes on: nothing is lost, and nothing runs twice. Two groups of one
concurrency key take turns. Ends with 0 when all of that is so.

The second part of `make demo`, or `python -m examples.node_demo` where the command `runner` is on PATH.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from examples.stage import Stage, main, until

NAME = "node_demo.py"
ID = "nightly"
LOG = ["copied part 1", "copied part 2", "copied part 3", "copied part 4", "copied part 5", "copied part 6"]


def play(folder: Path) -> list[str]:
    """What was not as it should be."""
    stage = Stage(NAME, folder, {"RUNNER_TO": "local"})
    dead, state = folder / "dead", folder / "runner"
    stage.say("A node, and the supervisor that owns the tasks' processes. Somebody submits a group and looks on.")
    with stage.service("runner", "supervisor", "--state-dir", str(state)):
        stage.until_there(state / "supervisor.sock", "the supervisor")
        with stage.service("runner", "serve") as node:
            stage.until_there(state / "runner.sock", "the node")
            submit = ("runner", "submit", "--follow", "--id", ID, "--set", f"dead={dead}", "examples/backup.yaml")
            with stage.followed(*submit) as lines:
                said = until(lines, "copied part 3")
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
                    _take_turns(stage, folder / "go")
    return stage.faults


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


def _take_turns(stage: Stage, go: Path) -> None:
    stage.say("Two deployments to one site: the second waits for the first, as their concurrency key says.")
    for id in ("first", "second"):
        stage.run("runner", "submit", "--id", id, "--set", f"go={go}", "examples/deploy.yaml")
    told = stage.run("runner", "explain", "second")
    stage.expect("waits for group first (concurrency key deploy-staging)" in told, f"it is said that {told}")
    stage.run("runner", "ls", "--limit", "2")
    go.touch()
    stage.run("runner", "watch", "second")


if __name__ == "__main__":
    sys.exit(main(NAME, play, "The node was killed, and nothing was lost or done twice."))
