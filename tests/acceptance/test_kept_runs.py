"""What the commands tell of `runner run`: yesterday's, one that runs, and one that was killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from runner.store import statements
from tests.acceptance.command import Command, group, shell

SECRET = "hunter22-hunter22"
WAITS = "echo up; trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done"


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with its size and the time of its last change."""
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def kept(runner: Command) -> Path:
    return runner.home / ".local" / "state" / "runner" / "runs"


def started(runner: Command, *tasks: dict[str, object], id: str = "live") -> subprocess.Popen[bytes]:
    """A run whose first task has said `up`."""
    process = runner.start("run", "--id", id, runner.write(group(list(tasks))), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert any(line.endswith(b"| up\n") for line in process.stdout)
    return process


def test_yesterdays_runs_are_told_and_left_as_they_are(runner: Command) -> None:
    exports = [{"name": "token", "scope": "global", "confidential": True}, {"name": "n", "scope": "global"}]
    command = f"echo out; echo err >&2; echo token={SECRET} >> $OUTPUT_FILE; echo n=1 >> $OUTPUT_FILE"
    tasks = [shell("say", command, exports=exports), shell("no", "echo no; exit 3", depends_on=["say"])]
    document = runner.write(group(tasks, name="demo", labels={"team": "web"}))
    ran = runner("run", document, "--id", "first", "--output", "json")
    assert runner("run", runner.write(group([shell("t", "echo second")], name="other")), "--id", "second").status == 0
    before = tree(kept(runner))
    assert runner("get", "first", "--output", "json").json == ran.json
    assert runner("get", "fir", "--reveal", "--output", "json").json["results"]["say"]["outputs"]["token"] == SECRET
    assert runner("watch", "first").stdout.splitlines()[1:3] == ["say -- started", "say  | out"]
    assert runner("watch", "first").status == 1
    assert runner("logs", "first", "say").stdout == "out\nerr\n"
    assert runner("logs", "first", "say", "--stderr", "--offset", "1").stdout == "rr\n"
    assert runner("logs", "first").stdout == "say  | out\nsay  | err\nno   | no\n"
    assert runner("logs", "first", "-f").stdout == "say  | out\nsay  | err\nno   | no\n"
    rows = [json.loads(line) for line in runner("ls", "--output", "json").stdout.splitlines()]
    assert [(row["id"], row["status"], row["name"]) for row in rows] == [
        ("second", "success", "other"),
        ("first", "failed", "demo"),
    ]
    assert runner("ls", "--label", "team=web", "--output", "json").json["id"] == "first"
    assert runner("ls", "--since", "2000-01-01", "--status", "success", "--output", "json").json["id"] == "second"
    events = [json.loads(line) for line in runner("events", "first", "--output", "json").stdout.splitlines()]
    assert events[-1]["kind"] == "group_finished"
    assert runner("cancel", "first").stdout == "first is over: failed\n"
    assert tree(kept(runner)) == before
    assert SECRET not in runner("watch", "first", "--output", "json").stdout


@pytest.mark.timeout(120)
def test_one_that_runs_is_watched_and_cancelled_from_beside(runner: Command) -> None:
    os.mkfifo(runner.folder / "gate")
    clean = shell("clean", "echo cleaning; read go < gate", depends_on=["work"], when="always")
    run = started(runner, shell("work", WAITS), clean)
    watching = runner.start("watch", "@last", stdout=subprocess.PIPE)
    logging = runner.start("logs", "live", "work", "-f", stdout=subprocess.PIPE)
    assert watching.stdout is not None
    assert logging.stdout is not None
    assert any(line == b"work   | up\n" for line in watching.stdout)
    assert logging.stdout.readline() == b"up\n"
    row = runner("ls", "--output", "json").json
    assert (row["status"], row["reason"]) == ("running", None)
    assert "running, waits" not in runner("get", "live").stdout
    assert "pending, waits for what it depends on" in runner("get", "live").stdout
    assert "is being cancelled" in runner("cancel", "live").stdout
    (runner.folder / "gate").write_text("go\n")
    rest = watching.stdout.read().decode()
    assert "clean  | cleaning\n" in rest
    assert (run.wait(), watching.wait(), logging.wait()) == (130, 1, 0)
    assert f"up\n{logging.stdout.read().decode()}" == runner("logs", "live", "work").stdout
    assert runner("cancel", "live", "--output", "json").json == {"id": "live", "status": "aborted"}


def test_a_second_cancel_ends_the_cleanup_and_no_number_of_them_does_more(runner: Command) -> None:
    slow = shell("clean", "echo cleans; sleep 1000", depends_on=["work"], when="always")
    run = started(runner, shell("work", WAITS), slow)
    assert run.stdout is not None
    for _ in range(4):
        assert runner("cancel", "live").status == 0
    assert any(line == b"clean  | cleans\n" for line in run.stdout)
    assert runner("cancel", "live", "--at-once").status == 0
    assert run.wait() == 130
    events = [json.loads(line) for line in runner("events", "live", "--output", "json").stdout.splitlines()]
    assert [event["count"] for event in events if event["kind"] == "cancel_requested"] == [1, 2]


def test_a_run_in_the_background_of_a_script_is_cancelled_too(runner: Command) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = started(runner, shell("work", WAITS))
    finally:
        signal.signal(signal.SIGINT, before)
    assert runner("cancel", "live").status == 0
    assert run.wait() == 130


def test_one_whose_runner_was_killed_is_told_as_such(runner: Command) -> None:
    run = started(runner, shell("work", WAITS))
    watching = runner.start("watch", "live", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert watching.stdout is not None
    assert any(line == b"work  | up\n" for line in watching.stdout)
    run.kill()
    run.wait()
    out, err = watching.communicate()
    assert watching.returncode == 1
    assert b"running (its runner is gone)" in out
    assert b"`runner run --id live` with the same file takes it up" in err
    row = runner("ls", "--output", "json").json
    assert (row["status"], row["reason"]) == ("running", "runner_lost")
    assert "running (its runner is gone)" in runner("ls").stdout
    assert runner("logs", "live", "work", "-f").stdout == "up\n"
    done = runner("cancel", "live")
    assert (done.status, "nothing carries the run live out" in done.stderr) == (2, True)
    again = runner("run", "--id", "live", "group.yaml")
    assert (again.status, "supervisor_lost" in again.stdout) == (1, True)
    assert runner("watch", "live").status == 1
    assert runner("ls", "--output", "json").json["status"] == "errored"


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(runner: Command) -> None:
    for id in ("good", "torn"):
        assert runner("run", runner.write(group([shell("t", "echo x")])), "--id", id).status == 0
    (kept(runner) / "torn" / "state.db").write_bytes(b"nonsense")
    (kept(runner) / "empty").mkdir()
    done = runner("ls")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ID", "good"]
    assert "state.db is damaged" in done.stderr
    assert (done.status, runner("get", "torn").status, runner("get", "empty").status) == (0, 1, 2)
    for id in ("nobody", "../runs/good", "", "."):
        done = runner("get", id)
        assert (done.status, done.stdout) == (2, ""), done
    assert "there is no run 'nobody'" in runner("get", "nobody").stderr
    missing = runner("logs", "good", "t", "--attempt", "3")
    assert (missing.status, missing.stderr) == (2, "runner: the task 't' has no attempt 3: the last one was 1\n")
    assert runner("logs", "good", "tt").stderr == "runner: the group has no task 'tt' (did you mean 't'?)\n"


def test_a_run_of_an_older_version_is_read_without_changing_it(runner: Command, tmp_path: Path) -> None:
    assert runner("run", runner.write(group([shell("t", "echo x")], name="old")), "--id", "old").status == 0
    path = kept(runner) / "old" / "state.db"
    older = tmp_path / "older.db"
    with sqlite3.connect(path) as source, sqlite3.connect(older) as target:
        target.executescript(statements.migrations()[0])
        for table in ("groups", "documents", "tasks", "attempts", "events"):
            columns = ", ".join(f'"{name}"' for (_, name, *_) in target.execute(f"PRAGMA table_info({table})"))
            rows = source.execute(f"SELECT {columns} FROM {table}").fetchall()
            target.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        target.execute("PRAGMA application_id = 0x52554E52")
        target.execute("PRAGMA user_version = 1")
    source.close()
    target.close()
    os.replace(older, path)
    path.chmod(0o600)
    before = path.read_bytes()
    assert runner("ls", "--output", "json").json["name"] == "old"
    assert runner("get", "old", "--output", "json").json["results"]["t"]["status"] == "success"
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", [("ls",), ("get", "@last"), ("logs", "x")])
def test_where_nothing_was_run_nothing_is_made(runner: Command, command: tuple[str, ...]) -> None:
    done = runner(*command)
    assert done.stdout == ""
    assert list(runner.home.iterdir()) == []
