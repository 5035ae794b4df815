from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner import privatefile


def test_it_is_private_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        privatefile.make_folder(tmp_path / "a" / "b")
        privatefile.write(tmp_path / "a" / "b" / "file", b"data")
        privatefile.write(tmp_path / "a" / "b" / "public", b"data", mode=0o644)
    finally:
        os.umask(former)
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"data"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "file": 0o600, "public": 0o644}


def test_nothing_is_replaced_unless_that_is_asked_for(tmp_path: Path) -> None:
    privatefile.write(tmp_path / "file", b"old")
    with pytest.raises(FileExistsError):
        privatefile.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    privatefile.write(tmp_path / "file", b"new", replace=True)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        privatefile.write(tmp_path / "file", b"new")
    privatefile.write(tmp_path / "file", b"new", replace=True)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    privatefile.make_folder(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o755
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        privatefile.make_folder(tmp_path / "file")


def test_whoever_is_killed_leaves_the_old_file_whole(tmp_path: Path) -> None:
    privatefile.write(tmp_path / "file", b"old")
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        from runner import privatefile
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        privatefile.write(Path(sys.argv[1]), b"new", replace=True)
    """
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], check=False, timeout=40)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"old"
    assert all(name == "file" or name.startswith(".") for name in os.listdir(tmp_path))
