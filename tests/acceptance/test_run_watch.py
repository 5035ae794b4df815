"""`runner run --watch`: again when something changes, and properly ended when somebody asks."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell
from tests.acceptance.screens import Open

WAIT_SECONDS = 40


class Watching:
    """A command that watches, and what it says, line by line, out of both its streams."""

    def __init__(self, runner: Command, *arguments: str) -> None:
        self.process = runner.start(
            "run", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.decode())

    def until(self, words: str) -> str:
        """What is said up to a line with these words."""
        said = ""
        while words not in said:
            try:
                said += self._lines.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                pytest.fail(f"it never said {words!r}, but:\n{said}")
        return said

    def ended(self, number: signal.Signals = signal.SIGINT) -> int:
        os.kill(self.process.pid, number)
        return self.process.wait(WAIT_SECONDS)


@pytest.fixture
def folder(runner: Command) -> Iterator[Path]:
    yield runner.folder
    runner.end()


def says(text: str, **more: object) -> str:
    return group([shell("say", f"echo {text}")], **more)


def test_it_runs_again_when_the_document_is_replaced(runner: Command, folder: Path) -> None:
    watching = Watching(runner, runner.write(says("first", id="mine")), "--watch")
    assert "say -- success" in watching.until("waiting for a change of group.yaml; Ctrl-C ends it")
    (folder / "new").write_text(says("second", id="mine"))
    os.replace(folder / "new", folder / "group.yaml")  # as editors do
    said = watching.until("waiting for a change")
    assert said.startswith("runner: group.yaml has changed: once more\n")
    assert "say  | second\n" in said
    assert watching.ended() == 0
    assert runner("ls", "--output", "json").stdout.count("\n") == 2


def test_a_document_that_is_broken_for_a_moment_shows_its_faults_and_waits(runner: Command, folder: Path) -> None:
    watching = Watching(runner, runner.write("taskGroup: [{nam: x}]"), "--watch")
    said = watching.until("waiting for a change")
    assert "runner: the document was refused:\n" in said
    assert "group.yaml:1:14: taskGroup[0].nam: unknown key (did you mean 'name'?)\n" in said
    (folder / "group.yaml").unlink()
    assert "there is no such file" in watching.until("waiting for a change")
    runner.write(says("whole", inputs={"tag": {"required": True}}))
    assert "input 'tag' is required" in watching.until("waiting for a change")
    runner.write(group([shell("no", "exit 3")]))
    assert "no -- failed" in watching.until("waiting for a change")
    assert watching.ended() == 1


def test_a_change_stops_what_runs_properly_and_begins_anew(runner: Command, folder: Path) -> None:
    tasks = [
        shell("long", "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done"),
        shell("tidy", "echo tidied", when="always", depends_on=["long"]),
    ]
    (folder / "src").mkdir()
    watching = Watching(runner, runner.write(group(tasks)), "--watch-path", "src/**/*.py")
    watching.until("long  | up")
    (folder / "src" / "a.py").write_text("1")
    said = watching.until("once more")
    assert "runner: src/a.py has changed: what runs is asked to end\n" in said
    assert "long  | asked\n" in said
    assert "tidy  | tidied\n" in said
    watching.until("long  | up")
    assert watching.ended() == 130
    rows = [json.loads(line) for line in runner("ls", "--output", "json").stdout.splitlines()]
    assert [row["status"] for row in rows] == ["aborted", "aborted"]
    assert "a change of what `--watch` watches cancelled the group at" in runner("explain", rows[1]["id"]).stdout


def test_files_that_were_named_are_watched_too(runner: Command, folder: Path) -> None:
    (folder / "vars.env").write_text("WORD=one\n")
    (folder / "in.yaml").write_text("tag: '1'\n")
    (folder / "key").write_text("a-first-secret")
    task = shell("say", 'echo "$WORD $TAG ${#KEY}"')
    task["spec"]["envs"] = {"TAG": "{{ .inputs.tag }}", "KEY": "{{ .inputs.key }}"}
    document = runner.write(group([task], inputs={"tag": {}, "key": {"confidential": True}}))
    options = ["--env-file", "vars.env", "--input-file", "in.yaml", "--set-secret", "key=@key"]
    watching = Watching(runner, document, "--watch", *options)
    assert "say  | one 1 14\n" in watching.until("waiting for a change of group.yaml, vars.env, in.yaml and key;")
    for name, text, printed in (
        ("vars.env", "WORD=two\n", "two 1 14"),
        ("in.yaml", "tag: '2'\n", "two 2 14"),
        ("key", "another-secret-now", "two 2 18"),
    ):
        (folder / name).write_text(text)
        said = watching.until("waiting for a change")
        assert f"{name} has changed: once more" in said
        assert f"say  | {printed}\n" in said
    assert watching.ended(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dry-run"], "--dry-run starts nothing, so --watch has nothing to end"),
        (["--id", "x"], "--id names one run, and --watch makes many"),
        (["--set-secret", "key=-"], "standard input cannot be"),
        (["--watch-path", "none/*.py"], "none: there is no such folder to watch"),
        (["--watch-path", ""], "it is empty"),
    ],
)
def test_what_cannot_be_watched_is_said_and_nothing_is_run(runner: Command, options: list[str], words: str) -> None:
    document = runner.write(says("x", inputs={"key": {"confidential": True}}))
    done = runner("run", document, "--watch", *options)
    assert (done.status, done.stdout) == (2, "")
    assert words in done.stderr
    assert runner("run", "-", "--watch").status == 2
    assert list(runner.home.iterdir()) == []


def test_its_options_are_completed(runner: Command) -> None:
    assert runner("__complete", "bash", "runner run x --wat", "", "=:").stdout.split()[1] == "--watch"


def test_at_a_terminal_each_round_has_its_picture(runner: Command, at_terminal: Open) -> None:
    file = runner.folder / runner.write(says("one"))
    terminal = at_terminal("run", file.name, "--watch")
    terminal.until("waiting for a change of group.yaml")
    assert re.search("✓ say +success .* one", terminal.text)
    file.write_text(group([shell("say", "echo two; sleep 1000")]))
    terminal.until(lambda it: re.search("▸ say +running .* two", it.text))
    file.write_text(says("three"))
    terminal.until(lambda it: re.search("✓ say +success .* three", it.all_text))
    assert "group.yaml has changed: what runs is asked to end" in terminal.all_text
    assert re.search("✗ say +aborted .* two", terminal.all_text)
    terminal.until(lambda it: it.all_text.count("waiting for a change of group.yaml") == 2)
    terminal.type("\x03")
    assert terminal.end() == 0
    terminal.assert_whole()
