from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner import workspace
from runner.errors import UsageError


def test_an_isolated_workspace_is_empty_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    with workspace.isolated(tmp_path / "workspace") as folder:
        assert list(folder.iterdir()) == []
        locked = folder / "a" / "b"
        locked.mkdir(parents=True)
        (locked / "file").write_text("x")
        locked.chmod(0o500)
        (folder / "a").chmod(0)
    assert not folder.exists()


def test_a_private_folder_is_private_also_when_it_was_not(tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir(mode=0o755)
    for folder in (open_folder, tmp_path / "a" / "fresh"):
        assert stat.S_IMODE(workspace.make_private(folder).stat().st_mode) == 0o700


def test_roots_folder_for_what_is_passing_can_be_passed_through_and_not_read(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "temp"
    expected = 0o711 if os.geteuid() == 0 else 0o700
    for _ in range(2):
        assert stat.S_IMODE(workspace.make_temp(folder).stat().st_mode) == expected
        (folder / "left by a runner that was killed").touch()
    folder.chmod(0o755)
    with pytest.raises(UsageError, match="is open to other users"):
        workspace.make_temp(folder)


@pytest.mark.parametrize(("mode", "content"), [(0o755, ["somebody's"]), (0o1777, [])])
def test_a_folder_that_others_use_is_left_as_it_is(tmp_path: Path, mode: int, content: list[str]) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in content:
        (folder / name).touch()
    folder.chmod(mode)
    with pytest.raises(UsageError, match="is open to other users"):
        workspace.make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == mode


def test_a_link_is_no_private_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="is not a folder of this user"):
        workspace.make_private(tmp_path / "link")


def test_a_folder_that_was_removed_cannot_be_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(UsageError, match="does not exist any more"):
        workspace.current()


HOLDS = """
import sys
from pathlib import Path
from runner.workspace import run_temp
with run_temp(Path(sys.argv[1]), "run-"):
    Path(sys.argv[1], "secret").touch()
    print("ready", flush=True)
    sys.stdin.readline()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_killed_runs_left_in_memory_goes_with_the_next_and_nothing_else_does(tmp_path: Path) -> None:
    for name in ("node-1", "other"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "run-link").symlink_to(tmp_path / "other")
    dead, alive = hold(tmp_path / "run-dead"), hold(tmp_path / "run-alive")
    dead.kill()
    dead.communicate()
    assert (tmp_path / "run-dead" / "secret").exists()
    with workspace.run_temp(tmp_path / "run-mine", "run-") as mine:
        assert {path.name for path in tmp_path.iterdir()} == {"node-1", "other", "run-alive", "run-link", "run-mine"}
        assert (tmp_path / "run-alive" / "secret").exists()
        assert list(mine.iterdir()) == []
    alive.communicate("go\n")
    assert alive.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"node-1", "other", "run-link"}


def test_what_a_killed_life_of_the_same_run_left_is_there_for_the_next(tmp_path: Path) -> None:
    dead = hold(tmp_path / "run-again")
    dead.kill()
    dead.communicate()
    with workspace.run_temp(tmp_path / "run-again", "run-") as again:
        assert [path.name for path in again.iterdir()] == ["secret"]
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_do_not_remove_each_others(tmp_path: Path) -> None:
    def one(number: int) -> bool:
        with workspace.run_temp(tmp_path / f"run-{number}", "run-") as folder:
            (folder / "file").touch()
            return (folder / "file").exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, [number % 40 for number in range(40)]))
    assert list(tmp_path.iterdir()) == []
