"""Ctrl-C, SIGTERM and their repetition, as a terminal sends them: to the whole process group of the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from tests import hostile
from tests.acceptance.command import Command, group, shell

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORKS = "trap 'echo asked to end; exit 0' TERM; echo $$; while :; do sleep 0.05; done"
CLEANS = "echo cleaning up; touch cleaned"


@pytest.fixture(autouse=True)
def _signals_arrive() -> Iterator[None]:
    """The tests may have been started by `nohup` or in the background of a script, with signals ignored."""
    ignored = [number for number in NUMBERS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def start(
    runner: Command, *tasks: dict[str, object], output: str = "text", before: Sequence[str] = ()
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    document = runner.write(group(list(tasks)))
    said = subprocess.PIPE
    process = runner.start("run", "--output", output, document, before=before, stdout=said, stderr=said)
    stream = process.stdout if output == "text" else process.stderr
    assert stream is not None
    return process, stream


def until(stream: IO[bytes], text: bytes) -> bytes:
    """The line that has `text` in it, once it was printed."""
    for line in stream:
        if text in line:
            return line
    pytest.fail(f"{text!r} was never printed")


def end(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        out, err = process.stdout.read().decode(), process.stderr.read().decode()
    status = process.wait()
    assert "Traceback" not in out + err
    return status, out, err


def is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


BY = {
    signal.SIGINT: "Ctrl-C, or `runner cancel`,",
    signal.SIGTERM: "SIGTERM, or `runner cancel`,",
    signal.SIGHUP: "the end of its terminal (SIGHUP)",
}


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_one_stops_tasks_and_lets_cleanup_run(runner: Command, number: signal.Signals) -> None:
    process, printed = start(runner, shell("work", WORKS), shell("clean", CLEANS, depends_on=["work"], when="always"))
    pid = int(until(printed, b"| ").split(b"| ")[1])
    os.killpg(process.pid, number)
    status, out, err = end(process)
    assert status == 130
    assert "work   | asked to end" in out
    assert "clean  | cleaning up" in out
    assert "\n  work  aborted: the group was cancelled\n" in out
    assert "stopping: running tasks are asked to end" in err
    assert is_gone(pid)
    assert (runner.folder / "cleaned").exists()
    first, why, *_ = runner("explain", "@last").stdout.splitlines()
    assert first.startswith("the group was aborted after ")
    assert why.startswith(f"  {BY[number]} cancelled the group at ")


def test_one_that_is_passed_on_twice_is_one(runner: Command) -> None:
    """timeout(1) sends what it gets to its child, and then to the whole process group."""
    work = shell("work", WORKS)
    clean = shell("clean", CLEANS, depends_on=["work"], when="always")
    process, printed = start(runner, work, clean, before=["timeout", "600"])
    until(printed, b"work   | ")
    os.kill(process.pid, signal.SIGTERM)
    status, out, err = end(process)
    assert status == 130
    assert "clean  | cleaning up" in out
    assert "without clean-up" not in err
    assert (runner.folder / "cleaned").exists()


def test_the_result_is_still_printed(runner: Command) -> None:
    process, logs = start(runner, shell("work", WORKS), output="json")
    until(logs, b"| ")
    os.killpg(process.pid, signal.SIGINT)
    status, out, _ = end(process)
    assert status == 130
    result = json.loads(out)
    assert (result["status"], result["reason"]) == ("aborted", "cancelled")
    assert result["results"]["work"]["status"] == "aborted"


def test_the_second_one_ends_cleanup_too(runner: Command) -> None:
    slow = shell("clean", "echo begun; sleep 600", depends_on=["work"], when="always")
    process, printed = start(
        runner, shell("work", WORKS), slow, shell("never", CLEANS, depends_on=["clean"], when="always")
    )
    until(printed, b"work ")
    until(printed, b"work   | ")
    os.killpg(process.pid, signal.SIGINT)
    until(printed, b"clean  | begun")
    assert process.stderr is not None
    until(process.stderr, b"once more ends")
    os.killpg(process.pid, signal.SIGINT)
    status, out, _ = end(process)
    assert status == 130
    assert "never -- skipped because the group was aborted" in out
    assert not (runner.folder / "cleaned").exists()


def test_the_third_one_leaves_at_once_and_nothing_stays(runner: Command, require: Callable[[str], None]) -> None:
    """A tracer that does not look delays the end of what it traces by five seconds, which nobody waits for here."""
    require("ptrace")
    stubborn = shell("work", "trap '' TERM; echo $$; while :; do sleep 0.05; done")
    process, printed = start(runner, stubborn)
    pid = int(until(printed, b"| ").split(b"| ")[1])
    tracer = hostile.idle_tracer(pid)
    try:
        assert process.stderr is not None
        for words in (b"once more ends", b"once more leaves"):
            os.killpg(process.pid, signal.SIGINT)
            until(process.stderr, words)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
        _, out, _ = end(process)
        assert "aborted" not in out
    finally:
        tracer.kill()
        tracer.wait()
    while not is_gone(pid):  # the supervisor notices by itself; the test's timeout bounds this
        os.sched_yield()


def test_a_group_that_was_told_to_ignore_hangups_ignores_them(runner: Command) -> None:
    document = runner.write(group([shell("t", "echo up; read x < gate; echo over")]))
    os.mkfifo(runner.folder / "gate")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = runner.start("run", document, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout is not None
    until(process.stdout, b"| up")
    os.killpg(process.pid, signal.SIGHUP)
    (runner.folder / "gate").write_text("go\n")
    status, out, _ = end(process)
    assert status == 0
    assert "t  | over" in out
