"""Workspaces of groups that are over, which are kept for a while, and while somebody is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.uploads import Allowance
from runner.workspaces import Workspaces


def opened(tmp_path: Path, now: float = 1000.0) -> Workspaces:
    return Workspaces(tmp_path / "w", Allowance(bytes=1 << 20, entries=100), lambda: now)


def made(spaces: Workspaces, group: str) -> Path:
    with spaces.provided(group, "me") as path:
        return path


def test_one_is_kept_for_so_long_whatever_dies_meanwhile(tmp_path: Path) -> None:
    spaces = opened(tmp_path)
    own = [made(spaces, group) for group in ("a", "b")]
    spaces.over("a", 10.0)
    opened(tmp_path).sweep(set(), 10.0)  # of b nobody has seen the end
    opened(tmp_path, 1009.0).expire_kept(10.0)
    assert all(path.is_dir() for path in own)
    opened(tmp_path, 1010.0).expire_kept(10.0)
    assert not any(path.exists() for path in own)
    assert os.listdir(tmp_path / "w" / ".kept") == []


def test_what_is_not_to_be_kept_goes(tmp_path: Path) -> None:
    spaces = opened(tmp_path)
    kept, gone = made(spaces, "a"), made(spaces, "b")
    spaces.over("a", 10.0)
    spaces.over("b", 0.0)
    spaces.over("never there", 10.0)
    assert (kept.exists(), gone.exists()) == (True, False)
    opened(tmp_path).sweep(set())
    assert not kept.exists()
    assert os.listdir(tmp_path / "w" / ".kept") == []


def test_that_of_another_runners_group_is_kept_as_well(tmp_path: Path) -> None:
    spaces = opened(tmp_path)
    path = spaces.shared("o", "g")
    spaces.release("o", "g", 10.0)
    opened(tmp_path, 1009.0).expire_kept(10.0)
    assert path.is_dir()
    assert spaces.shared("o", "g") == path  # something of it has come once more
    opened(tmp_path, 1010.0).expire_kept(10.0)
    assert path.is_dir()
    spaces.release("o", "g", 10.0)
    opened(tmp_path, 1010.0).expire_kept(10.0)
    assert os.listdir(tmp_path / "w" / ".guests") == []


def test_a_group_that_is_called_like_a_mark_of_ours_is_another(tmp_path: Path) -> None:
    spaces = opened(tmp_path)
    path = spaces.shared("o", "g")
    made(spaces, f"{path.name}.over")
    spaces.over(f"{path.name}.over", 10.0)
    opened(tmp_path, 1010.0).expire_kept(10.0)
    assert path.is_dir()


@pytest.mark.parametrize("guest", [False, True])
def test_one_that_somebody_is_in_goes_with_the_last(tmp_path: Path, guest: bool) -> None:
    spaces = opened(tmp_path)
    path = spaces.shared("o", "g") if guest else made(spaces, "g")
    spaces.occupy(str(path))
    spaces.occupy(str(path))
    if guest:
        spaces.release("o", "g")
    else:
        spaces.over("g", 0.0)
    spaces.vacate(str(path))
    assert path.is_dir()
    spaces.vacate(str(path))
    assert not path.exists()
    spaces.occupy(str(path))  # what comes later has nothing to do with that
    path.mkdir()
    spaces.vacate(str(path))
    assert path.is_dir()


def test_a_guest_that_comes_while_somebody_is_in_what_was_released_keeps_it(tmp_path: Path) -> None:
    spaces = opened(tmp_path)
    path = spaces.shared("o", "g")
    spaces.occupy(str(path))
    spaces.release("o", "g")
    (spaces.shared("o", "g") / "new").touch()
    spaces.vacate(str(path))
    assert (path / "new").exists()
    spaces.release("o", "g")
    assert not list(tmp_path.glob("w/.guests/*"))


def test_somebody_in_a_guests_workspace_leaves_nothing_of_it(tmp_path: Path) -> None:
    spaces = opened(tmp_path)
    path = spaces.shared("o", "g")
    spaces.occupy(str(path))
    spaces.occupy(str(path))
    spaces.release("o", "g")
    spaces.vacate(str(path))
    assert path.is_dir()
    spaces.vacate(str(path))
    assert not list(tmp_path.glob("w/.guests/*"))
