"""A disk that is full: what runs can be stopped, a command ends in time, a node takes nothing that it could lose, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.rpc import status
from runner.v1 import runner_pb2 as pb
from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import SECONDS, serving, submit, watched

MIB = 1 << 20


@pytest.fixture
def disk(require: Callable[[str], None], tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own."""
    require("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=400", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture(autouse=True)
def _signals_arrive() -> Iterator[None]:
    """The tests may have been started with this signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fill(disk: Path) -> None:
    """Leave not a byte, also at the end of files."""
    with open(disk / "ballast", "wb", buffering=0) as ballast:
        for size in (MIB, 4096, 1):
            try:
                while ballast.write(b"x" * size) == size:
                    pass
            except OSError:
                pass


def use_up_names(disk: Path) -> None:
    """Leave no file to be made."""
    for number in range(1000):
        try:
            (disk / f"ballast-{number}").touch()
        except OSError:
            return
    raise AssertionError("there is no end of files")


def document(runner: Command) -> str:
    """`first` ends, then `work` runs until it is stopped (the second time it ends), then `clean` would clean up."""
    work = 'test "$RUNNER_TASK_ATTEMPT" = 2 || { trap "echo > asked; exit 0" TERM; echo $$ > begun; sleep 600 & wait; }'
    return runner.write(
        group(
            [
                shell("first", "echo first >> started"),
                shell("work", work, depends_on=["first"], retry={"attempts": 2, "delay": 0, "on": ["supervisor_lost"]}),
                shell("clean", "echo clean >> started", depends_on=["work"], when="always"),
            ],
            cleanup_timeout=600,
        )
    )


def is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_run_on_a_full_disk_can_be_cancelled_and_goes_on_later(runner: Command, disk: Path) -> None:
    file = document(runner)
    for name in ("begun", "asked"):
        os.mkfifo(runner.folder / name)
    arguments = ("run", "--state-dir", str(disk / "state"), "--id", "again", "--output", "json", file)
    process = runner.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    pid = int((runner.folder / "begun").read_text())
    for line in process.stderr:
        if b"work  -- started" in line:
            break  # that is recorded
    fill(disk)
    os.killpg(process.pid, signal.SIGINT)
    awaited = {b"state cannot be written", b"once more ends"}
    for line in process.stderr:
        awaited -= {text for text in awaited if text in line}
        if not awaited:
            break
    (
        runner.folder / "asked"
    ).read_text()  # the task was asked to end; clean-up cannot be begun, and would be waited for
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1, err
    assert b"Traceback" not in err
    assert b"not written down; --id again takes it up" in err
    result = json.loads(out)
    assert (result["status"], result["reason"]) == ("errored", "state_not_written")
    ends = {name: (task["status"], task["reason"]) for name, task in result["results"].items()}
    assert ends["first"] == ("success", None)
    assert ends["work"][0] == "aborted"
    assert ends["clean"] in (("aborted", "cancelled"), ("skipped", "group_aborted"))
    assert is_gone(pid)

    (disk / "ballast").unlink()
    done = runner(*arguments)
    assert (done.status, done.json["status"]) == (0, "success"), done.stderr
    assert {name: task["attempts"] for name, task in done.json["results"].items()} == {
        "first": 1,
        "work": 2,
        "clean": 1,
    }
    assert (runner.folder / "started").read_text().split() == ["first", "clean"]


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, float | None]:
    """How a node refuses it, and in how many seconds it is worth to try again."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    details = dict(error.trailing_metadata())[status.DETAILS_KEY]
    told = status.from_wire(error.code(), error.details(), details)
    assert "nothing was accepted" in told.message
    return error.code(), getattr(told, "retry_after", None)


def test_a_node_takes_nothing_while_the_disk_is_full_and_goes_on_later(runner: Command, disk: Path) -> None:
    state = disk / "state"
    go = runner.folder / "go"
    waits = group([shell("w", f"while [ ! -e {go} ]; do sleep 0.02; done"), shell("then", "echo x", depends_on=["w"])])
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        submit(service, waits, "before")
        for event in watched(service, "before"):
            if event.WhichOneof("fact") == "task_started":
                break
        fill(disk)
        document = group([shell("t", "echo x" + "x" * 20_000)])
        for _ in range(3):
            code, seconds = refused(lambda: submit(service, document, "full"))
            assert (code, bool(seconds)) == (grpc.StatusCode.UNAVAILABLE, True)
        go.touch()
        node.until_said("store_failed")
        answer = service.GetTaskGroup(pb.GetTaskGroupRequest(id="before"), timeout=SECONDS)
        assert answer.group.status == pb.STATUS_RUNNING  # it reads, and says what is written
        (disk / "ballast").unlink()
        assert list(watched(service, "before"))[-1].WhichOneof("fact") == "group_finished"
        listed = service.ListTaskGroups(pb.ListTaskGroupsRequest(), timeout=SECONDS).groups
        assert [found.id for found in listed] == ["before"]
        request = pb.SubmitTaskGroupRequest(document=document.encode(), id="full")
        assert not service.SubmitTaskGroup(request, timeout=SECONDS).existed
        assert list(watched(service, "full"))[-1].group_finished.status == pb.STATUS_SUCCESS


def test_a_node_that_can_make_no_more_files_takes_nothing(runner: Command, disk: Path) -> None:
    with serving(runner, "--state-dir", str(disk / "state")) as node, node.service() as service:
        use_up_names(disk)
        code, _ = refused(lambda: submit(service, group([shell("t", "true")]), "full"))
        assert code is grpc.StatusCode.UNAVAILABLE
        for path in disk.glob("ballast-*"):
            path.unlink()
        submit(service, group([shell("t", "true")]), "full")
        assert list(watched(service, "full"))[-1].group_finished.status == pb.STATUS_SUCCESS


def test_a_node_does_not_start_on_a_disk_that_is_read_only(runner: Command, disk: Path) -> None:
    assert runner("run", "--state-dir", str(disk / "state"), runner.write(group([shell("t", "true")]))).status == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = runner("serve", "--log-format", "json", "--state-dir", str(disk / "state"))
    last = json.loads(done.stderr.splitlines()[-1])
    assert (done.status, last["action"]) == (2, "node_failed")
    assert "Read-only file system" in last["message"]


def test_what_lies_on_a_disk_that_is_read_only_is_backed_up(runner: Command, disk: Path) -> None:
    written, file = runner.write(group([shell("t", "echo kept")])), runner.folder / "b.tar"
    assert runner("run", "--state-dir", str(disk / "state"), "--id", "one", written).status == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    taken = runner("backup", "--state-dir", str(disk / "state"), "--with-key", str(file))
    assert taken.status == 0, taken.stderr
    assert runner("restore", "--state-dir", str(runner.folder / "copy"), str(file)).status == 0
    assert runner("logs", "--state-dir", str(runner.folder / "copy"), "one", "t").stdout == "kept\n"
