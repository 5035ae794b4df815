"""The files of an attempt of `os_exec`: what it exports, and how they go."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from runner.errors import OutputFileError
from taskimpl.os_exec import OsExecDriver
from taskimpl.os_exec.outputfiles import MAX_LOOKED_BYTES, AttemptFiles

OWN = (os.geteuid(), os.getegid())


def test_folders_in_the_place_of_files_go_too(tmp_path: Path) -> None:
    files = AttemptFiles.of(str(tmp_path), "g/a/1", "a")
    files.make(None, {})
    Path(files.output).unlink()
    for path in (files.output, files.named_output):
        Path(path, "deep").mkdir(parents=True)
        Path(path, "deep", "file").touch()
    asyncio.run(files.remove())
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_attempts_that_nobody_knows_are_swept_away(tmp_path: Path) -> None:
    for key, owner in (("g/a/1", None), ("g/b/1", None), ("g/c/1", OWN), ("g/d/1", OWN)):
        files = AttemptFiles.of(str(tmp_path), key, key[2], ".ps1", owner)
        files.make("echo", {"x": "1"})
        Path(files.named_output).write_text("v=1")
    (tmp_path / "other.output").touch()
    (tmp_path / ("0" * 32 + ".output")).mkdir()
    OsExecDriver({}).sweep(str(tmp_path), {"g/b/1", "g/d/1"})
    kept = [
        AttemptFiles.of(str(tmp_path), "g/b/1", "b", ".ps1"),
        AttemptFiles.of(str(tmp_path), "g/d/1", "d", ".ps1", OWN),
    ]
    left = {
        path for files in kept for path in (files.output, files.named_output, files.script, f"{files.given.folder}/x")
    }
    assert {str(path) for path in tmp_path.rglob("*") if path.is_file()} == {*left, str(tmp_path / "other.output")}


@pytest.mark.parametrize("owner", [None, OWN])
@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("v=1", [("v", "1")]),
        ("v=1\nv=2", [("v", "1"), ("v", "2")]),
        ("no variable", [("no", "variable")]),
        ("v=1\nw<<EOF\n2\n", [("v", "1"), ("w", "2\n"), ("w", "2")]),
    ],
)
def test_what_a_lost_attempt_exported_is_read_before_its_files_are_removed(
    tmp_path: Path, owner: tuple[int, int] | None, written: str, known: list[tuple[str, str]]
) -> None:
    for key in ("g/a/1", "g/b/1"):
        files = AttemptFiles.of(str(tmp_path), key, key[2], ".ps1", owner)
        files.make("echo", {"x": "1"})
        Path(files.output).write_text(written)
    for _ in range(2):  # a runner may be killed behind the first time
        lost = asyncio.run(OsExecDriver({}).salvage(str(tmp_path), "g/a/1", "a"))
        assert [(name, value.text) for name, value in lost] == known
    asyncio.run(OsExecDriver({}).clear(str(tmp_path), "g/a/1"))
    assert asyncio.run(OsExecDriver({}).salvage(str(tmp_path), "g/a/1", "a")) == []
    kept = AttemptFiles.of(str(tmp_path), "g/b/1", "b", ".ps1", owner)
    left = {kept.output, kept.script, f"{kept.given.folder}/x"}
    assert {str(path) for path in tmp_path.rglob("*") if path.is_file()} == left


def test_a_file_of_somebody_else_in_a_users_own_folder_is_not_read(tmp_path: Path) -> None:
    files = AttemptFiles.of(str(tmp_path), "k", "t", owner=OWN)
    files.make(None, {})
    Path(files.output).write_text("v=1")
    assert files.read() == {"v": "1"}
    files.owner = (OWN[0] + 1, OWN[1])
    with pytest.raises(OutputFileError, match="belongs to another user"):
        files.read()


class TestLooks:
    """At what an attempt exports while it runs."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> AttemptFiles:
        files = AttemptFiles.of(str(tmp_path), "g/a/1", "a")
        files.make(None, {})
        return files

    def write(self, files: AttemptFiles, data: bytes, *, age: float = 100.0) -> None:
        """As if it had been written `age` seconds ago."""
        Path(files.output).write_bytes(data)
        changed = time.time() - age
        os.utime(files.output, (changed, changed))

    def test_nothing_yet(self, files: AttemptFiles) -> None:
        assert list(files.look()) == []
        os.unlink(files.output)
        assert list(files.look()) == []

    def test_what_is_known_is_not_told_again(self, files: AttemptFiles) -> None:
        self.write(files, b"a=1\n")
        assert list(files.look()) == [("a", "1")]
        assert list(files.look()) == []
        self.write(files, b"a=1\nb=2\n")
        assert list(files.look()) == [("a", "1"), ("b", "2")]
        self.write(files, b"a=3\nb=2\n", age=50)
        assert list(files.look()) == [("a", "3"), ("b", "2")]
        Path(files.named_output).write_bytes(b"c=4")
        assert list(files.look()) == [("c", "4")]

    def test_what_may_change_within_a_tick_is_read_again(self, files: AttemptFiles) -> None:
        self.write(files, b"a=1", age=-100)
        assert list(files.look()) == [("a", "1")]
        assert list(files.look()) == [("a", "1")]

    def test_what_cannot_be_read_tells_nothing(self, files: AttemptFiles, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"a=1")
        os.unlink(files.output)
        os.symlink(tmp_path / "secret", files.output)
        os.mkfifo(files.named_output)
        assert list(files.look()) == []

    def test_a_program_that_writes_much_again_and_again_is_not_read_forever(self, files: AttemptFiles) -> None:
        data = b"a=" + b"x" * (1 << 20)
        for number in range(70):
            self.write(files, data + b"x", age=100 - number)
            told = list(files.look())
        assert told == []
        assert files.looked_bytes <= MAX_LOOKED_BYTES + (1 << 20) + 1
