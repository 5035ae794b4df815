"""Ending what a supervisor that died has left behind: for how long at most."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.process import remains
from runner.process.supervisor import purge
from runner.process.supervisor.processes import VARIABLE
from tests import apart


def test_what_never_comes_to_rest_is_looked_for_no_longer_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: Callable[[str], None]
) -> None:
    """There is always something new, until it is over; the bound is less than a look at what stays as it is takes."""
    require("seccomp")
    assert remains.LONGEST_SECONDS == 60.0, "as docs/processes.md says"
    bound = 2.0
    assert bound < purge.BOUND_SECONDS < remains.LONGEST_SECONDS
    monkeypatch.setattr(remains, "LONGEST_SECONDS", bound)
    life = os.urandom(16).hex()
    numbers = tmp_path / "numbers"

    def work() -> None:
        reports: list[Mapping[str, Any] | None] = []
        ending = threading.Thread(target=lambda: reports.append(remains.end(life)))
        started: list[int] = []
        began = time.monotonic()
        while not started or ending.is_alive():
            sleeper = subprocess.Popen(["sleep", "1000"], env={"PATH": os.environ["PATH"], VARIABLE: f"{life}/k"})
            started.append(sleeper.pid)
            numbers.write_text(" ".join(map(str, started)))
            if len(started) == 1:
                ending.start()
            with pytest.raises(subprocess.TimeoutExpired):
                sleeper.wait(0.2)
        assert time.monotonic() - began >= bound
        (report,) = reports
        assert report is not None
        named = {process["pid"] for process in report["left"]}
        assert started[0] in named <= set(started)
        assert report["leftovers"] == len(named) > 1

    try:
        apart.run(work, apart.without("kill", "pidfd_send_signal", error=errno.EPERM))
    finally:
        for number in numbers.read_text().split():
            os.kill(int(number), signal.SIGKILL)
