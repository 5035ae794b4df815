"""The wall clock of a node is set while tasks run: what counts time goes on as if nothing had happened.

Nobody but root can set a clock, and then it is everybody's. So the node gets another `clock_gettime`, which adds what
stands in a file. The times of files it does not change.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.v1 import runner_pb2 as pb
from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import SECONDS, serving, submit, watched

YEAR_SECONDS = 365 * 86_400

CLOCK = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *set_by;

__attribute__((constructor)) static void open_it(void) {
    int file = open(getenv("SET_BY"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) abort();
    set_by = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME && set_by) now->tv_sec += *set_by;
    return failed;
}
"""


class WallClock:
    """One that is set for whoever has `environment`."""

    def __init__(self, folder: Path) -> None:
        library, self._set_by = folder / "clock.so", folder / "set_by"
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=CLOCK.encode(), check=True)
        self.environment = {"LD_PRELOAD": str(library), "SET_BY": str(self._set_by)}
        self.set(0)

    def set(self, seconds: int) -> None:
        with open(self._set_by, "r+b" if self._set_by.exists() else "wb") as file:  # in its place: it is mapped
            file.write(seconds.to_bytes(8, "little", signed=True))


@pytest.mark.parametrize("killed", [False, True], ids=["same", "next"])
@pytest.mark.parametrize("seconds", [YEAR_SECONDS, -YEAR_SECONDS], ids=["ahead", "back"])
def test_timeouts_retries_and_waits_count_the_time_of_the_machine(
    runner: Command, require: Callable[[str], None], tmp_path: Path, seconds: int, killed: bool
) -> None:
    """Ahead, what has an hour would be over at once; back, what has a second would never be. So it is for the node that is told, and
    for the next one on the same machine."""
    require("cc")
    clock = WallClock(tmp_path)
    at = ("--state-dir", str(runner.folder / "state"))
    go, tried = runner.folder / "go", runner.folder / "tried"
    again = {"attempts": 2, "delay": 1, "on": ["failed"]}
    tasks = [
        shell("waits", f"while [ ! -e {go} ]; do sleep 0.02; done", timeout="1h"),
        shell("hangs", "sleep 600", timeout=2, allow_failure=True),
        shell("tries", f"[ -e {tried} ] || {{ touch {tried}; exit 1; }}", retry=again),
    ]
    with ExitStack() as nodes:
        node = nodes.enter_context(serving(runner, *at, **clock.environment))
        service = nodes.enter_context(node.service())
        submit(service, group(tasks, timeout="2h"), "over")
        started: set[str] = set()
        for event in watched(service, "over"):
            if event.WhichOneof("fact") == "task_started":
                started.add(event.task)
            if len(started) == len(tasks):
                break
        clock.set(seconds)
        if killed:
            node.end(signal.SIGKILL)
            node = nodes.enter_context(serving(runner, *at, **clock.environment))
            service = nodes.enter_context(node.service())
        ended: dict[str, str] = {}
        for event in watched(service, "over"):
            if event.WhichOneof("fact") == "task_finished":
                ended[event.task] = event.task_finished.reason
            if set(ended) == {"hangs", "tries"}:
                go.touch()
        assert list(ended) in (["hangs", "tries", "waits"], ["tries", "hangs", "waits"])
        assert ended["hangs"] == "timeout"
        got = service.GetTaskGroup(pb.GetTaskGroupRequest(id="over"), timeout=SECONDS)
        assert got.group.status == pb.STATUS_SUCCESS
        assert abs(got.group.finished_at.ToSeconds() - got.group.accepted_at.ToSeconds() - seconds) < YEAR_SECONDS / 2
        listed = runner("ls", "--to", "local", *at)
        watch = runner("watch", "--to", "local", *at, "over")
    assert "success" in listed.stdout
    assert watch.status == 0
    (line,) = [line for line in watch.stdout.splitlines() if line.startswith("task group: success")]
    assert (" after " in line) == (seconds > 0), "nothing takes less than no time"
