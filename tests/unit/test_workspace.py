from __future__ import annotations

import os
import stat
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


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "file").write_text("x")
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / "link").symlink_to(kept)
    workspace.remove(gone)
    assert not gone.exists()
    assert (kept / "file").read_text() == "x"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o755


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
