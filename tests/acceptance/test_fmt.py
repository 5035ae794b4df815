"""`runner fmt`: files in their canonical form, or the word that they are not."""

from __future__ import annotations

import os
import stat

import pytest

from tests.acceptance.command import Command

MESSY = "tasks:\n    -   name:  a   #why\n        type: os_exec\n        spec: {command: [ 'true' ]}\n"
CANONICAL = "taskGroup:\n- name: a   # why\n  type: os_exec\n  spec: {command: ['true']}\n"


def test_a_file_is_written_anew_and_stays_what_it_was(runner: Command) -> None:
    path = runner.folder / runner.write(MESSY)
    path.chmod(0o640)
    (runner.folder / "link.yaml").symlink_to("group.yaml")
    done = runner("fmt", "link.yaml")
    assert (done.status, done.stdout, done.stderr) == (0, "link.yaml\n", "")
    assert path.read_text() == CANONICAL
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (runner.folder / "link.yaml").is_symlink()
    before = path.stat()
    again = runner("fmt", "group.yaml")
    assert (again.status, again.stdout) == (0, "")
    assert path.stat().st_mtime_ns == before.st_mtime_ns, "one that is canonical is left alone"
    assert sorted(os.listdir(runner.folder)) == ["group.yaml", "link.yaml"]


def test_check_writes_nothing(runner: Command) -> None:
    runner.write(MESSY)
    runner.write(CANONICAL, "good.yaml")
    done = runner("fmt", "--check", "good.yaml", "group.yaml")
    assert (done.status, done.stdout, done.stderr) == (1, "group.yaml\n", "")
    assert (runner.folder / "group.yaml").read_text() == MESSY
    assert runner("fmt", "--check", "good.yaml").status == 0
    assert runner("fmt", "--check", "-", stdin=MESSY.encode()).stdout == "<stdin>\n"


def test_standard_input_goes_to_standard_output(runner: Command) -> None:
    done = runner("fmt", "-", stdin=MESSY.encode())
    assert (done.status, done.stdout, done.stderr) == (0, CANONICAL, "")
    assert runner("fmt", "-", stdin=CANONICAL.encode()).stdout == CANONICAL


def test_one_that_is_refused_keeps_no_other(runner: Command) -> None:
    runner.write("taskGroup: [{nam: x}]", "bad.yaml")
    runner.write(MESSY)
    done = runner("fmt", "bad.yaml", "none.yaml", "group.yaml")
    assert (done.status, done.stdout) == (2, "group.yaml\n")
    assert "bad.yaml:1:14: taskGroup[0].nam: unknown key (did you mean 'name'?)" in done.stderr
    assert "none.yaml: there is no such file" in done.stderr
    assert (runner.folder / "bad.yaml").read_text() == "taskGroup: [{nam: x}]"
    assert runner("fmt", "-", "-").status == 2


@pytest.mark.parametrize("line", ["envs: {A: 1.10, B: yes, C: 0755, D: 22:22}", "command: |+2\n        x\n\n\n"])
def test_what_was_not_quoted_stays_as_it_is_written(runner: Command, line: str) -> None:
    command = "" if line.startswith("command") else "    command: 'true'\n"
    document = f"taskGroup:\n- name: a\n  type: os_exec\n  spec:\n{command}    {line}\n"
    assert runner("fmt", "-", stdin=document.encode()).stdout.rstrip("\n") == document.rstrip("\n")


def test_its_files_are_completed(runner: Command) -> None:
    assert runner("__complete", "bash", "runner fmt ", "", "=:").stdout == "files\n"
