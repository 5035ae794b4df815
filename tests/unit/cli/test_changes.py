"""What is watched: patterns mean what they mean to a shell, and only what differs is a change."""

from __future__ import annotations

import glob
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.cli import changes
from runner.cli.changes import Changes
from runner.errors import UsageError

FILES = [
    "a.py",
    "b.txt",
    ".hidden.py",
    "src/a.py",
    "src/deep/er/a.py",
    "src/.git/a.py",
    "src/a1.py",
    "src/[x].py",
    "lib/a+b.py",
]
PATTERNS = ["*.py", "**/*.py", "src/**/*.py", "src/*.py", "src/**", "s?c/a?.py", "src/[!a]*.py", "src/[[]x].py", ".*", "lib/a+b.py", "src/.git/*"]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_those_of_a_shell(tmp_path: Path, pattern: str) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    whole = str(tmp_path / pattern)
    meant = {path for path in glob.glob(whole, recursive=True) if os.path.isfile(path)}
    compiled = changes._compiled(whole)
    assert {str(tmp_path / name) for name in FILES if compiled.fullmatch(str(tmp_path / name))} == meant


@contextmanager
def watched(files: list[Path], *patterns: str) -> Iterator[queue.Queue[str]]:
    told: queue.Queue[str] = queue.Queue()
    watching = Changes(files, patterns, told.put)
    watching.start()
    try:
        yield told
    finally:
        watching.stop()


def test_a_file_that_is_replaced_removed_or_made_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("group.yaml")
    file.write_text("1")
    with watched([file]) as told:
        file.write_text("2")
        assert told.get(timeout=30) == "group.yaml"
        Path("new").write_text("3")
        os.replace("new", file)
        assert told.get(timeout=30) == "group.yaml"
        file.unlink()
        assert told.get(timeout=30) == "group.yaml"
        file.write_text("3")
        assert told.get(timeout=30) == "group.yaml"


def test_the_same_content_is_no_change_and_neither_is_what_nothing_names(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    file, source = tmp_path / "group.yaml", tmp_path / "src" / "a.py"
    file.write_text("1")
    with watched([file], f"{tmp_path}/src/**/*.py") as told:
        source.write_text("1")
        assert told.get(timeout=30).endswith("src/a.py")
        source.write_text("1")
        file.write_text("1")
        (tmp_path / "other").write_text("x")
        (tmp_path / "src" / "a.txt").write_text("x")
        (tmp_path / "src" / "new").mkdir()
        (tmp_path / "src" / "new" / "b.py").write_text("x")
        assert told.get(timeout=30).endswith("src/new/b.py")
        assert told.empty()


def test_a_link_is_watched_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real.yaml").write_text("1")
    link = tmp_path / "group.yaml"
    link.symlink_to("there/real.yaml")
    with watched([link]) as told:
        (tmp_path / "there" / "real.yaml").write_text("2")
        assert told.get(timeout=30) == str(link)


def test_what_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="only a file can be read again"):
        Changes([tmp_path / "pipe"], [], lambda what: None)
    with pytest.raises(UsageError, match="there is no such folder to watch"):
        Changes([], [f"{tmp_path}/none/*.py"], lambda what: None)
