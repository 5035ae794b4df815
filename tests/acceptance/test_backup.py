"""`runner backup` and `runner restore`: what was known is known again, and nothing runs twice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner import sealing
from runner.v1 import runner_pb2 as pb
from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import SECONDS, serving, submit, watched

ENDS = shell(
    "ends", 'echo printed; echo "token=hunter2hunter2" >> $OUTPUT_FILE', exports=[{"name": "token", "confidential": True, "scope": "global"}]
)  # fmt: skip


def runs_until(go: Path, starts: Path) -> dict[str, Any]:
    return shell("runs", f"echo started >> {starts}; while [ ! -e {go} ]; do sleep 0.02; done; echo done >> {starts}")


def test_a_backup_of_a_node_that_works(runner: Command) -> None:
    state, copy, file = runner.folder / "state", runner.folder / "copy", runner.folder / "b.tar"
    go, starts = runner.folder / "go", runner.folder / "starts"
    after = shell("after", f"echo after >> {starts}", depends_on=["runs"])
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        submit(service, group([ENDS]), "over")
        list(watched(service, "over"))
        submit(service, group([runs_until(go, starts), after]), "going")
        for event in watched(service, "going"):
            if event.WhichOneof("fact") == "task_started":
                break
        done = runner("backup", "--state-dir", str(state), "--with-key", str(file))
        assert (done.status, done.stdout) == (0, ""), done.stderr
        assert "with the key" in done.stderr
        assert file.stat().st_mode & 0o777 == 0o600
        before = service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS).node_id
        restored = runner("restore", "--state-dir", str(copy), str(file))
        assert restored.status == 0, restored.stderr
        assert "1 group that was not over then will be ended" in restored.stderr
        with serving(runner, "--state-dir", str(copy)) as other, other.service() as theirs:
            assert theirs.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS).node_id != before
            got = theirs.GetTaskGroup(pb.GetTaskGroupRequest(id="over", reveal=True), timeout=SECONDS)
            assert got == service.GetTaskGroup(pb.GetTaskGroupRequest(id="over", reveal=True), timeout=SECONDS)
            assert got.tasks[0].outputs["token"].text == "hunter2hunter2"
            (log,) = theirs.ReadLog(pb.ReadLogRequest(id="over", task="ends"), timeout=SECONDS)
            assert log.chunks[0].data == b"printed\n"
            list(watched(theirs, "going"))
            ended = theirs.GetTaskGroup(pb.GetTaskGroupRequest(id="going"), timeout=SECONDS)
            assert (ended.group.status, ended.group.reason) == (pb.STATUS_ABORTED, "cancelled")
            assert [(task.status, task.reason) for task in ended.tasks] == [
                (pb.STATUS_ERRORED, "host_restarted"),
                (pb.STATUS_SKIPPED, "group_aborted"),
            ]
            assert other.until_said("restored")["groups"] == 1
            assert submit(theirs, group([ENDS]), "over") == "over"  # known, with its digest
            assert not (copy / "restored").exists()
        go.touch()
        assert list(watched(service, "going"))[-1].WhichOneof("fact") == "group_finished"
    assert starts.read_text().split() == ["started", "done", "after"]


def test_a_backup_at_rest_through_a_pipe_with_the_key_apart(runner: Command) -> None:
    state, copy = runner.folder / "state", runner.folder / "empty"
    copy.mkdir()
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        submit(service, group([ENDS]), "over")
        list(watched(service, "over"))
        node.end()
    taken = runner.start("backup", "--state-dir", str(state), "-", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    data, _ = taken.communicate(timeout=SECONDS)
    assert taken.returncode == 0
    file = runner.folder / "b.tar"
    file.write_bytes(data)
    assert (state / "key").read_bytes() not in data
    refused = runner("restore", "--state-dir", str(copy), str(file))
    assert (refused.status, os.listdir(copy)) == (2, [])
    assert "give the file that holds it with --key-file" in refused.stderr
    (runner.folder / "wrong").write_bytes(b"k" * 32)
    (runner.folder / "wrong").chmod(0o600)
    refused = runner("restore", "--state-dir", str(copy), "--key-file", str(runner.folder / "wrong"), str(file))
    assert (refused.status, os.listdir(copy)) == (2, [])
    assert "but the backup was sealed with" in refused.stderr
    done = runner("restore", "--state-dir", str(copy), "--key-file", str(state / "key"), str(file))
    assert done.status == 0, done.stderr
    assert sorted(os.listdir(runner.folder)) == ["b.tar", "empty", "state", "wrong"]  # no drafts
    with serving(runner, "--state-dir", str(copy)) as node, node.service() as service:
        got = service.GetTaskGroup(pb.GetTaskGroupRequest(id="over", reveal=True), timeout=SECONDS)
        assert got.tasks[0].outputs["token"].text == "hunter2hunter2"
        with pytest.raises(grpc.RpcError):
            service.GetTaskGroup(pb.GetTaskGroupRequest(id="unknown"), timeout=SECONDS)


def test_what_runner_run_has_kept_is_in_it(runner: Command) -> None:
    state, copy, file = runner.folder / "state", runner.folder / "copy", runner.folder / "b.tar"
    written = runner.write(group([ENDS]))
    first = runner("run", "--state-dir", str(state), "--id", "one", "--output", "json", "--reveal", written)
    assert first.status == 0, first.stderr
    assert runner("backup", "--state-dir", str(state), "--with-key", str(file)).status == 0
    assert runner("restore", "--state-dir", str(copy), str(file)).status == 0
    again = runner("run", "--state-dir", str(copy), "--id", "one", "--output", "json", "--reveal", written)
    assert again.json == first.json


def test_a_copy_for_programs(runner: Command) -> None:
    state, copy, file = runner.folder / "state", runner.folder / "copy", runner.folder / "b.tar"
    assert runner("run", "--state-dir", str(state), "--id", "one", runner.write(group([ENDS]))).status == 0
    taken = runner("backup", "--state-dir", str(state), "--with-key", "--output", "json", "b.tar")
    assert (taken.status, taken.stderr) == (0, "")
    with tarfile.open(file) as backup:
        members = backup.getmembers()[1:-1]  # between the heading and the digests
    assert taken.json == {
        "state_dir": str(state), "file": str(file), "files": len(members), "bytes": sum(each.size for each in members),
        "runs": 1, "with_key": True,
    }  # fmt: skip
    refused = runner("backup", "--state-dir", str(state), "--output", "json", "-")
    assert (refused.status, refused.stdout) == (2, "")
    assert "cannot have both the backup and JSON" in refused.stderr
    restored = runner("restore", "--state-dir", str(copy), "--output", "json", str(file))
    assert (restored.status, restored.stderr) == (0, "")
    assert (restored.json["state_dir"], restored.json["unfinished"]) == (str(copy), 0)
    assert set(restored.json) == {"state_dir", "taken_at", "taken_by", "unfinished"}
    rotated = runner("secrets", "rotate", "--state-dir", str(copy), "--output", "json")
    assert (rotated.status, rotated.stderr) == (0, "")
    told = rotated.json
    assert (told["groups"], told["values"], told["in_use"], told["resumed"]) == (1, 1, [], False)
    assert told["key"] == sealing.Sealer(sealing.read_key(copy / "key")).key_id
    assert told["former"] == sealing.Sealer(sealing.read_key(state / "key")).key_id


@pytest.mark.parametrize("named", [True, False])
def test_a_restore_that_fails_is_repeated(runner: Command, named: bool) -> None:
    """What the runner has to tell of its failure lies elsewhere: the directory has to be empty, or not there."""
    state, file = runner.folder / "state", runner.folder / "b.tar"
    copy = runner.folder / "copy" if named else runner.home / ".local/state/runner"
    to = ("--state-dir", str(copy)) if named else ()
    written = runner.write(group([shell("prints", "yes | head -c 100000")]))
    assert runner("run", "--state-dir", str(state), "--id", "one", written).status == 0
    assert runner("backup", "--state-dir", str(state), "--with-key", str(file)).status == 0
    temporary = runner.folder / "tmp"
    temporary.mkdir()
    small = ("sh", "-c", 'ulimit -f 64; exec "$@"', "sh")
    failed = runner.start(
        "restore", *to, str(file), before=small, environment={"TMPDIR": str(temporary)}, stderr=subprocess.PIPE
    )
    _, said = failed.communicate(timeout=SECONDS)
    assert failed.returncode == 1
    (details,) = temporary.iterdir()
    assert said.decode().endswith(f"File too large; details are in {details}\n")
    assert "Traceback" in details.read_text()
    assert not copy.exists()
    again = runner("restore", *to, str(file))
    assert again.status == 0, again.stderr


def test_what_cannot_be_done_is_said(runner: Command) -> None:
    state, file = runner.folder / "state", runner.folder / "b.tar"
    written = runner.write(group([ENDS]))

    def refused(*arguments: str, status: int = 2) -> str:
        done = runner(*arguments)
        assert (done.status, done.stdout) == (status, ""), done
        return done.stderr

    to_state = ("--state-dir", str(state))
    to_new = ("--state-dir", str(runner.folder / "new"))
    assert "holds no state of a runner" in refused("backup", *to_state, str(file))
    assert not file.exists()
    assert runner("run", *to_state, written).status == 0
    assert runner("backup", *to_state, "--with-key", str(file)).status == 0
    assert "is there already" in refused("backup", *to_state, str(file))
    nowhere = runner.folder / "no-folder" / "b.tar"
    missing = f"runner: {nowhere} cannot be written: No such file or directory\n"
    assert refused("backup", *to_state, str(nowhere), status=1) == missing
    assert "is not empty" in refused("restore", *to_state, str(file))
    assert "cannot read" in refused("restore", *to_new, str(runner.folder / "missing"))
    assert "it is no backup of a runner" in refused("restore", *to_new, written, status=1)
    file.write_bytes(file.read_bytes()[:-12_000])
    assert "cannot be used: it is cut off" in refused("restore", *to_new, str(file), status=1)
    assert not (runner.folder / "new").exists()


def test_a_state_of_a_newer_runner_is_refused_in_one_sentence(runner: Command) -> None:
    state, file = runner.folder / "state", runner.folder / "b.tar"
    assert runner("run", "--state-dir", str(state), "--id", "one", runner.write(group([ENDS]))).status == 0
    with contextlib.closing(sqlite3.connect(state / "runs" / "one" / "state.db")) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1}")
    done = runner("backup", "--state-dir", str(state), str(file))
    assert (done.status, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    assert "use a newer runner" in done.stderr
    assert not [path for path in runner.folder.iterdir() if path.suffix != ".yaml" and path != state]


def test_a_certificate_that_is_missing_hinders_no_backup(runner: Command) -> None:
    """The file of the configuration goes along, and certificates do not."""
    state, copy, file = runner.folder / "state", runner.folder / "copy", runner.folder / "b.tar"
    assert runner("run", "--state-dir", str(state), "--id", "one", runner.write(group([ENDS]))).status == 0
    (state / "runner.toml").write_text('[tls]\ncertificate = "node.pem"\nkey = "node.key"\n')
    taken = runner("backup", "--state-dir", str(state), "--with-key", str(file))
    assert taken.status == 0, taken.stderr
    assert runner("restore", "--state-dir", str(copy), str(file)).status == 0
    assert "is not empty" in runner("restore", "--state-dir", str(copy), str(file)).stderr
    rotated = runner("secrets", "rotate", "--state-dir", str(copy))
    assert rotated.status == 0, rotated.stderr
    assert "node.pem" in runner("serve", "--state-dir", str(copy)).stderr
