"""Who looks at a kept run."""

from __future__ import annotations

import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from runner import visits


def test_a_visitor_is_seen_until_he_leaves(tmp_path: Path) -> None:
    with visits.visit(tmp_path):
        assert visits.visitors(tmp_path) == [os.getpid()]
    assert visits.visitors(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_one_that_was_killed_is_none(tmp_path: Path) -> None:
    (tmp_path / "shell-1.lock").write_text("1")
    assert visits.visitors(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_visitor_who_is_looked_for_as_he_comes_is_seen_all_the_same(tmp_path: Path) -> None:
    """Between his making the file and his having the lock."""
    path = tmp_path / f"shell-{os.getpid()}.lock"
    path.touch()
    with ThreadPoolExecutor() as beside, ExitStack() as stack:
        with open(path) as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_SH)
            coming = beside.submit(stack.enter_context, visits.visit(tmp_path))
            until = time.monotonic() + 20
            while opened(path) < 2:
                assert time.monotonic() < until
                time.sleep(0.001)
            path.unlink()
        coming.result(20)
        assert visits.visitors(tmp_path) == [os.getpid()]


def opened(path: Path) -> int:
    """How often this process has it open."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    return count
