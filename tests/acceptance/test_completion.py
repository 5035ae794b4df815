"""Completion: what `runner __complete` says may follow, and what shells that read our scripts make of a Tab."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from runner.cli.commands import COMMANDS
from tests.acceptance.command import Command, group, shell
from tests.conftest import Require

READY = b"<ready>"
LONGEST_SECONDS = 40.0
AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)

DOCUMENT = group(
    [shell("build", "true", description="Builds\nall"), shell("bundle", "true"), shell("test", "true")],
    inputs={"tag": {"default": "latest", "description": "What to deploy"}, "site": "eu"},
)


def words(runner: Command, left: str, right: str = "", breaks: str = "=:") -> list[str]:
    """The words that may stand at the cursor; what the shell finds by itself in brackets."""
    done = runner("__complete", "bash", left, right, breaks)
    assert done.stderr == ""
    kind, *lines = done.stdout.splitlines() or [""]
    return [line.partition("\t")[0] for line in lines] if kind == "words" else [f"<{kind}>"]


@pytest.fixture
def written(runner: Command) -> Command:
    runner.write(DOCUMENT)
    runner.write(group([shell("of-two", "true", matrix={"py": ["3.11", "3.12"]})]), "matrix.yaml")
    return runner


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("runner val", ["validate"]),
        ("runner __", []),
        ("runner run ", ["<files>"]),
        ("runner graph ", ["<files>"]),
        ("runner validate group.yaml ", ["<files>"]),
        ("runner run group.yaml --is", ["--isolated"]),
        ("runner run --isolated group.yaml --is", []),
        ("runner run group.yaml --output ", ["text", "json"]),
        ("runner run group.yaml --progress ", ["auto", "live", "plain"]),
        ("runner watch --progress p", ["plain"]),
        ("runner run group.yaml --output j", ["json"]),
        ("runner run group.yaml --output=j", ["json"]),
        ("runner run group.yaml --input-file ", ["<files>"]),
        ("runner run group.yaml --state-dir ", ["<folders>"]),
        ("runner run group.yaml --max-parallel ", []),
        ("runner run group.yaml --task ", ["build", "bundle", "test"]),
        ("runner run group.yaml --task bu", ["build", "bundle"]),
        ("runner run group.yaml --task=bu", ["build", "bundle"]),
        ("runner run group.yaml --task build --task t", ["test"]),
        ("runner submit group.yaml --set si", ["site="]),
        ("runner run group.yaml --from t", ["test"]),
        ("runner run matrix.yaml --task o", ["of-two", "of-two[3.11]", "of-two[3.12]"]),
        ("runner run matrix.yaml --task of-two\\[3.12", ["of-two[3.12]"]),
        ("runner run group.yaml --set ", ["tag=", "site="]),
        ("runner run group.yaml --set tag=1 --set ", ["site="]),
        ("runner run group.yaml --set=s", ["site="]),
        ("runner run group.yaml --set tag=", []),
        ("runner run 'group.yaml' --set-secret t", ["tag="]),
        ("runner run nowhere.yaml --task ", []),
        ("runner run . --task ", []),
        ("runner run - --task ", []),
        ("runner context ", ["ls", "add", "use", "rm"]),
        ("runner context add --us", ["--use"]),
        ("runner serve --log-level d", ["debug"]),
        ("runner serve --config ", ["<files>"]),
        ("runner signal 1 a ", ["pause", "start", "destroy", "retry", "continue"]),
        ("runner completion ", ["bash", "zsh", "fish"]),
        ("runner nonsense ", []),
        ("runner config nonsense --", []),
        ("runner run -- --", ["<files>"]),
        ("runner get 1 2 ", []),
    ],
)
def test_what_may_stand_at_the_cursor(written: Command, left: str, expected: list[str]) -> None:
    assert words(written, left) == expected


def test_all_commands_may_come_first(runner: Command) -> None:
    assert words(runner, "runner ") == list(COMMANDS)


def test_a_file_behind_the_cursor_counts_too(written: Command) -> None:
    assert words(written, "runner run --task bu", " group.yaml") == ["build", "bundle"]
    assert words(written, "runner run --task bu", "ild group.yaml") == ["build", "bundle"]


def test_where_the_equals_sign_ends_no_word_the_whole_word_is_given(written: Command) -> None:
    assert words(written, "runner run group.yaml --task=bu", breaks=" ") == ["--task=build", "--task=bundle"]


def test_a_broken_document_names_what_is_whole_and_says_nothing_else(runner: Command) -> None:
    runner.write("taskGroup:\n- {name: one, type: os_exec}\n- [}\n")
    assert words(runner, "runner run group.yaml --task ") in ([], ["one"])
    runner.write(b"\xff\xfe")
    assert words(runner, "runner run group.yaml --task ") == []


def test_a_pipe_in_the_place_of_the_document_is_not_read(runner: Command) -> None:
    os.mkfifo(runner.folder / "pipe")
    assert words(runner, "runner run pipe --task ") == []


@pytest.mark.parametrize("arguments", [(), ("bash",), ("zsh", "x"), ("zsh", "0"), ("csh", "1", "runner")])
def test_whoever_asks_in_another_way_hears_nothing_of_it(runner: Command, arguments: tuple[str, ...]) -> None:
    assert runner("__complete", *arguments).stderr == ""


def test_kept_runs_and_their_tasks_may_be_named(written: Command) -> None:
    for id in ("first", "second"):
        assert written("run", "group.yaml", "--id", id, "--quiet").status == 0
    assert set(words(written, "runner get ")) == {"@last", "first", "second"}
    assert words(written, "runner logs fi") == ["first"]
    assert words(written, "runner run group.yaml --id se") == ["second"]
    assert words(written, "runner logs first bu") == ["build", "bundle"]
    assert words(written, "runner rerun first --from bu") == ["build", "bundle"]
    assert words(written, "runner rerun --id fi") == []
    assert words(written, "runner explain sec te") == ["test"]
    assert words(written, "runner logs --to unix:/nowhere ") == ["@last"]
    assert words(written, "runner logs --to unix:/nowhere first ") == []
    assert words(written, "runner get --state-dir elsewhere ") == ["@last"]


def test_contexts_may_be_named(runner: Command) -> None:
    for name in ("cloud", "onprem"):
        assert runner("context", "add", name, f"unix:/{name}").status == 0
    assert words(runner, "runner context use ") == ["cloud", "onprem"]
    assert words(runner, "runner ls --context on") == ["onprem"]


def test_other_shells_are_told_what_each_word_is_for(written: Command) -> None:
    for name in ("zsh", "fish"):
        done = written("__complete", name, "5", "runner", "run", "group.yaml", "--task", "bui")
        assert done.stdout == "words\nbuild\tBuilds all\n"
        done = written("__complete", name, "4", "runner", "run", "group.yaml", "--output=j")
        assert done.stdout == "words\n--output=json\t\n"


class Shell:
    """A shell at a terminal. What it runs as `runner` is ours where it completes, else something that shows its arguments."""

    def __init__(self, runner: Command, argv: list[str]) -> None:
        programs = runner.folder.parent / "bin"
        programs.mkdir()
        program = programs / "runner"
        program.write_text(
            f"#!{sys.executable}\nimport sys\nfrom runner.cli import main\nsys.argv[0] = 'runner'\n"
            "if sys.argv[1] in ('__complete', 'completion'): sys.exit(main())\n"
            "print(''.join(f'<{word}>' for word in ['', *sys.argv[1:], 'end']))\n"
        )
        program.chmod(0o755)
        environment = {**runner.environment, "TERM": "dumb", "PS1": "", "LINES": "50", "COLUMNS": "200"}
        environment["PATH"] = f"{programs}:{environment['PATH']}"
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        self._terminal, inner = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *argv],
            cwd=runner.folder,
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._seen = b""

    def begin(self, start: str) -> None:
        self._type(f"{start}; printf '<%s>\\n' ready\n")
        self._wait(READY)

    def given(self, line: str) -> list[str]:
        """The arguments that the command gets when this is typed."""
        self._seen = b""
        self._type(f"{line}\n")
        self._wait(b"<end>")
        text = self._seen[: self._seen.rindex(b"<end>")].decode()
        return text[text.rindex("<>") + 3 :].removesuffix(">").split("><")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _wait(self, mark: bytes) -> None:
        until = time.monotonic() + LONGEST_SECONDS
        while mark not in self._seen:
            left = max(until - time.monotonic(), 0)
            assert select.select([self._terminal], [], [], left)[0], self._seen.decode(errors="replace")
            with suppress(OSError):  # it has ended, and what it said comes first
                self._seen += os.read(self._terminal, 65536)
                continue
            pytest.fail(self._seen.decode(errors="replace"))


SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set enable-bracketed-paste off'; source <(runner completion bash)",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "unsetopt beep; autoload -Uz compinit; compinit -u -D; source <(runner completion zsh)",
    ),
    "fish": (["fish", "--private", "--no-config"], "runner completion fish | source"),
}


@pytest.fixture(params=list(SHELLS))
def typed(request: pytest.FixtureRequest, require: Require, written: Command) -> Iterator[Shell]:
    require(request.param)
    argv, start = SHELLS[request.param]
    with closing(Shell(written, argv)) as at_terminal:
        at_terminal.begin(start)
        yield at_terminal


def test_a_tab_completes(typed: Shell, written: Command) -> None:
    assert typed.given("runner val\tx") == ["validate", "x"]
    assert typed.given("runner run gro\t--iso\t") == ["run", "group.yaml", "--isolated"]
    assert typed.given("runner run group.yaml --task te\t--from bun\t") == [
        *("run", "group.yaml", "--task", "test", "--from", "bundle"),
    ]
    assert typed.given("runner run group.yaml --task=te\t") == ["run", "group.yaml", "--task=test"]
    assert typed.given("runner run matrix.yaml --task of-\t\\[3.12\t") == [
        "run",
        "matrix.yaml",
        "--task",
        "of-two[3.12]",
    ]
    assert typed.given("runner run group.yaml --set ta\t5") == ["run", "group.yaml", "--set", "tag=5"]
    assert typed.given("runner run group.yaml --output j\t") == ["run", "group.yaml", "--output", "json"]
    assert typed.given("runner context ad\tx") == ["context", "add", "x"]
    (written.folder / "my folder").mkdir()
    (written.folder / "my file").touch()
    *_, folder = typed.given("runner run group.yaml --state-dir my\t")
    assert folder.rstrip("/") == "my folder"  # a slash at the end goes when a line is sent, in some shells
    assert typed.given("runner run group.yaml --env-file my\\ fi\t") == ["run", "group.yaml", "--env-file", "my file"]
    assert typed.given("runner run group.yaml --env-file=gro\t") == ["run", "group.yaml", "--env-file=group.yaml"]
