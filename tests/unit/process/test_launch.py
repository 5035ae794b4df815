"""The supervisor's own copy of its code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from runner.process import launch


def test_one_copy_for_each_version_of_the_code(tmp_path: Path) -> None:
    main = launch.install(str(tmp_path))
    made = main.stat()
    assert launch.install(str(tmp_path)) == main
    again = main.stat()  # but for the time of the last access: it was read
    assert (again.st_ino, again.st_mtime_ns, again.st_size) == (made.st_ino, made.st_mtime_ns, made.st_size)
    assert [path.name for path in (tmp_path / "supervisor").iterdir()] == [main.parents[3].name]


def test_the_copy_is_for_this_user_and_leaves_no_draft_where_it_cannot_be_made(
    tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("mount")
    script = """
        set -e
        mkdir "$1/state"
        mount -t tmpfs -o size=8k tmpfs "$1/state"
        code="import sys; from runner.process import launch; launch.install(sys.argv[1])"
        ! "$2" -c "$code" "$1/state" 2>"$1/error"
        ls "$1/state/supervisor"
        mount -t tmpfs -o remount,size=1m tmpfs "$1/state"
        "$2" -c "$code" "$1/state"
        find "$1/state/supervisor" -type d -perm /077
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert "No space left on device" in (tmp_path / "error").read_text()


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    main = launch.install(str(tmp_path))
    wire = main.with_name("wire.py")
    whole = wire.read_bytes()
    wire.write_bytes(b"")
    assert launch.install(str(tmp_path)) == main
    assert wire.read_bytes() == whole


def test_the_copy_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    root = launch.install(str(tmp_path)).parents[3]
    script = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import runner.process.supervisor.main as m; print(m.__file__)"
    )
    script += "; print('typing' in sys.modules, 'asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    file, loaded = done.stdout.splitlines()
    assert file.startswith(str(root))
    assert loaded == "False False", "what is slow to import is not imported"
