"""A disk that is full in the middle of a run: what runs can be stopped, the command ends in time, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell

MIB = 1 << 20


@pytest.fixture
def disk(require: Callable[[str], None], tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own."""
    require("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
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
