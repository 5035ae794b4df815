"""Which of the kept runs go, and which stay."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from runner import history, removal
from runner.model.result import Status
from runner.store.retirement import DATABASE
from tests.unit.store.test_retirement import opened, run

DAY_SECONDS = 86_400


def kept(runs: Path, name: str, *, days: float, status: Status = Status.SUCCESS) -> None:
    """A run that was last written to so many days ago."""
    folder = run(runs / name, status)
    at = time.time() - days * DAY_SECONDS
    os.utime(folder / DATABASE, (at, at))


def pruned(runs: Path, *, keep_days: int = 1_000, keep_runs: int = 1_000) -> list[str]:
    history.prune(runs, keep_days=keep_days, keep_runs=keep_runs)
    return sorted(os.listdir(runs))


def test_what_is_old_goes(tmp_path: Path) -> None:
    for name, days in (("a", 29.9), ("b", 30.1), ("c", 400), ("d", 0)):
        kept(tmp_path, name, days=days)
    assert pruned(tmp_path, keep_days=30) == ["a", "d"]
    assert pruned(tmp_path, keep_days=30) == ["a", "d"]
    assert pruned(tmp_path, keep_days=0) == []


def test_what_is_too_much_goes_the_oldest_first(tmp_path: Path) -> None:
    for name, days in (("a", 3), ("b", 1), ("c", 2), ("d", 4)):
        kept(tmp_path, name, days=days)
    assert pruned(tmp_path, keep_runs=4) == ["a", "b", "c", "d"]
    assert pruned(tmp_path, keep_runs=2) == ["b", "c"]


def test_what_is_unfinished_or_in_use_stays(tmp_path: Path) -> None:
    kept(tmp_path, "a", days=99, status=Status.RUNNING)
    kept(tmp_path, "b", days=99)
    kept(tmp_path, "c", days=99)
    (tmp_path / "no run").mkdir()
    store = opened(tmp_path / "b")
    assert pruned(tmp_path, keep_days=30, keep_runs=0) == ["a", "b", "no run"]
    store.close()
    assert pruned(tmp_path, keep_runs=0) == ["a", "no run"]


def test_what_somebody_began_to_remove_is_removed(tmp_path: Path) -> None:
    rest = tmp_path / f"{removal.ASIDE}x"
    (rest / "logs").mkdir(parents=True)
    (rest / "logs").chmod(0o500)
    assert pruned(tmp_path) == []


def test_many_go_little_by_little_and_unfinished_ones_hold_up_nobody(tmp_path: Path) -> None:
    for number in range(history.MOST_LOOKED_AT + 5):
        kept(tmp_path, f"u{number}", days=99, status=Status.RUNNING)
    for number in range(5):
        kept(tmp_path, f"f{number}", days=50)
    left = pruned(tmp_path, keep_days=30)
    while any(name.startswith("f") for name in left):
        left = pruned(tmp_path, keep_days=30)
    assert len(left) == history.MOST_LOOKED_AT + 5


def test_what_goes_wrong_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        kept(tmp_path, name, days=99)
    for name in ("a", "b"):
        (tmp_path / name / DATABASE).write_bytes(b"no database")
    with caplog.at_level(logging.WARNING):
        assert pruned(tmp_path, keep_runs=0) == ["a", "b"]
    (line,) = caplog.messages
    assert line.startswith("2 old runs could not be removed, e.g.: the state ")


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history.prune(tmp_path / "missing", keep_days=1, keep_runs=1)
    assert len(caplog.messages) == 1
