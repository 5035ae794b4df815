"""The supervisor's own copy of its code."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from runner.process import launch

ROOT = Path(__file__).parents[3]


def test_one_copy_for_each_version_of_the_code(tmp_path: Path) -> None:
    main = launch.install(str(tmp_path))
    made = main.stat()
    assert launch.install(str(tmp_path)) == main
    again = main.stat()  # but for the time of the last access: it was read
    assert (again.st_ino, again.st_mtime_ns, again.st_size) == (made.st_ino, made.st_mtime_ns, made.st_size)
    assert copies(tmp_path) == [main.parents[3].name]


def copies(state_dir: Path) -> list[str]:
    return sorted(path.name for path in (state_dir / "supervisor").iterdir() if path.name != ".lock")


def test_what_a_killed_runner_had_copied_is_removed(tmp_path: Path) -> None:
    """Killed before the last file was there."""
    script = """
        import os, pathlib, signal, sys
        from runner.process import launch
        write = pathlib.Path.write_bytes
        def write_or_die(path, text):
            if path.name == "wire.py":
                os.kill(os.getpid(), signal.SIGKILL)
            return write(path, text)
        pathlib.Path.write_bytes = write_or_die
        launch.install(sys.argv[1])
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(copies(tmp_path)) == 1
    main = launch.install(str(tmp_path))
    assert copies(tmp_path) == [main.parents[3].name]


def test_runners_that_start_together_share_the_copy(tmp_path: Path) -> None:
    script = "import sys; from runner.process import launch; print(launch.install(sys.argv[1]))"
    arguments = [sys.executable, "-c", script, str(tmp_path)]
    starting = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate()[0] for process in starting} == {f"{launch.install(str(tmp_path))}\n"}
    assert len(copies(tmp_path)) == 1


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


def test_what_is_compiled_already_is_not_compiled_again(tmp_path: Path) -> None:
    """As an installation leaves its modules. A source that has changed since is compiled, as ever."""
    package = tmp_path / "site" / "runner"
    shutil.copytree(ROOT / "runner", package, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(package, quiet=2)
    changed = package / "process" / "supervisor" / "table.py"
    changed.write_bytes(changed.read_bytes() + b"# changed\n")
    script = "import sys; from runner.process import launch; print(launch.install(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    root = Path(done.stdout.strip()).parents[3]
    script = f"import sys; sys.path.insert(0, {str(root)!r}); import runner.process.supervisor.main"
    done = subprocess.run([sys.executable, "-I", "-S", "-v", "-c", script], capture_output=True, text=True, check=True)
    taken = set(re.findall(rf"# \S+ matches {re.escape(str(root))}/runner/process/supervisor/(\w+)\.py", done.stderr))
    compiled = set(re.findall(rf"# wrote '{re.escape(str(root))}/\S*/(\w+)\.\S+\.pyc'", done.stderr))
    assert {"main", "server", "wire"} <= taken
    assert compiled <= {"table", "__init__"}
    assert "table" not in taken


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
