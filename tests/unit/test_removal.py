from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.removal import remove_tree

DEPTH = 3000  # deeper than the stack of Python, and than a path may be long


def deep(folder: Path, name: str) -> None:
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def test_however_deep(tmp_path: Path) -> None:
    deep(tmp_path / "tree", "a" * 100)
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_whatever_is_in_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o750)
    (kept / "file").write_text("x")
    tree = tmp_path / "tree"
    for number in range(50):
        (tree / str(number) / "in").mkdir(parents=True)
        (tree / str(number) / "in" / "file").touch()
    (tree / "to-folder").symlink_to(kept)
    (tree / "7" / "to-file").symlink_to(kept / "file")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    os.link(kept / "file", tree / "hard")
    remove_tree(str(tree))
    remove_tree(str(tree))
    assert list(tmp_path.iterdir()) == [kept]
    assert (kept / "file").read_text() == "x"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o750


@pytest.mark.parametrize("kind", ["file", "link", "pipe"])
def test_what_is_no_folder(tmp_path: Path, kind: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    place = tmp_path / "place"
    if kind == "file":
        place.touch()
    elif kind == "link":
        place.symlink_to(kept)
    else:
        os.mkfifo(place)
    remove_tree(place)
    assert list(tmp_path.iterdir()) == [kept]


CLOSED = """
import os
from runner.removal import remove_tree
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for mode in (0, 0o500, 0o300):
    os.makedirs("tree/a/b/c")
    open("tree/a/b/file", "w").close()
    for folder in ("tree/a/b/c", "tree/a/b", "tree/a", "tree"):
        os.chmod(folder, mode)
    remove_tree("tree")
    print(os.path.lexists("tree"))
"""


def test_folders_that_are_closed(tmp_path: Path) -> None:
    """As somebody who is not root, whom modes stop."""
    tmp_path.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", CLOSED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "False\nFalse\nFalse\n", done.stderr


def test_a_mount_is_left_as_it_is_and_the_rest_goes(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("mount")
    (tmp_path / "tree" / "in" / "mounted").mkdir(parents=True)
    (tmp_path / "tree" / "in" / "file").touch()
    script = 'mount -t tmpfs none "$1/in/mounted"; chmod 755 "$1/in/mounted"; touch "$1/in/mounted/a"; "$2" -c "$3" "$1"; find "$1" -mindepth 2 -printf "%m %f\\n"'
    program = "import sys; from runner.removal import remove_tree; remove_tree(sys.argv[1])"
    command = ["unshare", "--mount", "sh", "-e", "-c", script, "sh", str(tmp_path / "tree"), sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "755 mounted\n644 a\n"), done.stderr
