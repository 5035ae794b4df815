"""`runner validate`, `runner graph`, and bad input to all commands: one clear message with its place, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import RUNNER, TIMEOUT_SECONDS, Command, Done, group, shell

EXAMPLES = Path(__file__).parents[2] / "examples"
MEMORY_KIB = 1 << 20


def one(**changes: object) -> str:
    """A document of one task, as JSON, with something else in it."""
    return group([{**shell("a", "true"), **changes}])


NESTED = "taskGroup: " + "[" * 100 + "]" * 100
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)

BAD: dict[str, tuple[str | bytes, str]] = {
    "an empty file": ("", "empty"),
    "a list at top level": ("- a\n- b\n", "mapping"),
    "a trailing comma in a name": (
        "taskGroup:\n- name: foo,\n  type: os_exec\n  spec: {command: 'true'}\n",
        "group.yaml:2:",
    ),
    "an import of what is not exported": (
        group([shell("a", "true"), shell("b", "true", imports=[{"from": "a", "variable": "v"}])]),
        "group.yaml:1:",
    ),
    "a cycle": (
        group(
            [
                shell("a", "true", depends_on=["c"]),
                shell("b", "true", depends_on=["a"]),
                shell("c", "true", depends_on=["b"]),
            ]
        ),
        "a",
    ),
    "an unknown name in a template": (group([shell("a", "echo {{ .nobody.password }}")]), "nobody"),
    "a template that would take for ever": (group([shell("a", "echo {{ '%0999999999d' % 1 }}")]), "group.yaml:1:"),
    "an empty command": (one(spec={"command": []}), "command"),
    "a negative timeout": (one(timeout="-5s"), "timeout"),
    "a working folder outside the workspace": (one(spec={"command": "true", "workdir": "../.."}), "workdir"),
    "a limit that is no size": (one(spec={"command": "true", "limits": {"memory": "512m"}}), "spec.limits.memory"),
    "a user that is none": (one(spec={"command": "true", "user": "a:b:c"}), "spec.user"),
    "a hundred levels of nesting": (NESTED, "64"),
    "an alias bomb": (ALIASES, "alias"),
    "a hundred MiB in one scalar": (b"name: " + b"x" * (100 << 20), "32"),
    "NUL bytes": (b"name: a\0b\n", "group.yaml:1:"),
    "invalid UTF-8": (b"name: a\xff\n", "UTF-8"),
    "duplicate keys": ("name: a\nname: b\ntaskGroup: []\n", "group.yaml:2:"),
    "not YAML": ("name: [a\n", "group.yaml:"),
    "an unknown key": (one(dependsOn=["b"]), "depends_on"),
    "a key that is not built yet": (one(cache={"key": "x"}), "cache"),
    "an unknown type": (one(type="os_exek"), "os_exec"),
    "a dependency on itself": (one(depends_on=["a"]), "a"),
    "an unknown dependency": (one(depends_on=["aa"]), "aa"),
}


# The command, called in one folder after the other, each time in a process of its own. Its modules are imported once, for the first.
REFUSES = """
import os, sys
from pathlib import Path
from runner.cli import main

def call(folder):
    os.chdir(f"{folder}/work")
    os.environ["HOME"] = f"{folder}/home"
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    return main([command, "group.yaml"])

command, first, *others = sys.argv[1:]
call(first)
for folder in others:
    pid = os.fork()
    if pid == 0:
        sys.exit(call(folder))
    Path(folder, "status").write_text(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
"""
Refusals = Callable[[str], Mapping[str, tuple[Done, Path]]]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    """By the name of a bad document: what a command says of it, and the home that it had."""

    @cache
    def of(command: str) -> Mapping[str, tuple[Done, Path]]:
        folders = {name: tmp_path_factory.mktemp(command) for name in ("the first", *BAD)}
        for name, folder in folders.items():
            (folder / "home").mkdir()
            (folder / "work").mkdir()
            content, _ = BAD.get(name, ("", ""))
            (folder / "work" / "group.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
        environment = Command(folder=tmp_path_factory.getbasetemp() / "unused").environment
        subprocess.run(
            [sys.executable, "-c", REFUSES, command, *folders.values()],
            env=environment,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        said = {}
        for name, folder in folders.items():
            if name in BAD:
                status, stdout, stderr = ((folder / part).read_text() for part in ("status", "stdout", "stderr"))
                said[name] = Done(status=int(status), stdout=stdout, stderr=stderr), folder / "home"
        return said

    return of


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["run", "validate", "graph"])
def test_a_bad_document_is_refused(refusals: Refusals, command: str, name: str) -> None:
    _, clue = BAD[name]
    done, home = refusals(command)[name]
    assert done.status == 2
    assert done.stdout == ""
    assert clue in done.stderr
    assert "Traceback" not in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 5
    assert max(len(line) for line in done.stderr.splitlines()) < 600
    assert "group.yaml" in done.stderr
    assert not list((home / ".local" / "state" / "runner").glob("runs/*"))


@pytest.mark.parametrize(
    "name", ["an alias bomb", "a hundred MiB in one scalar", "a template that would take for ever"]
)
def test_a_bad_document_is_refused_in_bounded_memory(runner: Command, name: str) -> None:
    document = runner.write(BAD[name][0])
    done = subprocess.run(
        ["sh", "-c", f'ulimit -v {MEMORY_KIB}; exec "$@"', "sh", *RUNNER, "validate", document],
        cwd=runner.folder,
        env=runner.environment,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert b"MemoryError" not in done.stderr


@pytest.mark.parametrize("command", ["run", "validate", "graph"])
@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "no such file"), (".", "folder"), ("/dev/zero", "32"), ("x" * 300, "too long")],
)
def test_what_is_no_document(runner: Command, command: str, name: str, message: str) -> None:
    done = runner(command, name)
    assert done.status == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_standard_input_is_read_once(runner: Command) -> None:
    assert runner("validate", "-", "-", stdin=b"").status == 2
    assert runner("run", "-", "--set-secret", "p=-", stdin=b"").status == 2


def test_validate_reports_every_file(runner: Command) -> None:
    good = runner.write(group([shell("a", "true")]), "good.yaml")
    bad = runner.write("taskGroup:\n- name: a b\n  type: os_exek\n", "bad.yaml")
    done = runner("validate", good, bad, "missing.yaml")
    assert done.status == 2
    assert done.stdout == "good.yaml: valid, 1 task\n"
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("bad.yaml:2:")]
    assert [line for line in lines if line.startswith("bad.yaml:3:")]
    assert [line for line in lines if line.startswith("missing.yaml: ")]


def test_validate_for_machines(runner: Command) -> None:
    good = runner.write(group([shell("a", "true")]), "good.yaml")
    bad = runner.write("taskGroup:\n- name: a\n  type: os_exek\n", "bad.yaml")
    done = runner("validate", "--output", "json", good, bad)
    assert (done.status, done.stderr) == (2, "")
    first, second = done.json["files"]
    assert first == {"source": "good.yaml", "valid": True, "faults": []}
    assert not second["valid"]
    fault = next(fault for fault in second["faults"] if fault["path"] == "taskGroup[0].type")
    assert (fault["line"], fault["severity"]) == (3, "error")


@pytest.mark.parametrize(
    "example", sorted(path.name for path in EXAMPLES.glob("*.yaml") if path.name != "manifest.yaml")
)
def test_the_examples_are_valid(runner: Command, example: str) -> None:
    done = runner("validate", str(EXAMPLES / example))
    assert done.status == 0


def test_a_graph(runner: Command) -> None:
    done = runner("graph", str(EXAMPLES / "diamond.yaml"))
    assert done.status == 0
    assert done.stdout.splitlines() == [
        "diamond: 4 tasks, the longest chain has 3",
        "",
        "●    checkout     os_exec",
        "├─●  build-linux  os_exec  ← checkout (version)",
        "● │  build-mac    os_exec  ← checkout (version)",
        "●─╯  release      os_exec  ← build-linux (archive), build-mac (archive)",
    ]


def test_a_graph_for_programs(runner: Command) -> None:
    tasks = [
        shell("later", "true", depends_on=["first"], when="always"),
        shell("first", "true", exports=[{"name": "ok"}]),
        shell("last", "true", imports=[{"from": "first", "variable": "ok"}], **{"if": "{{ .first.ok == 'yes' }}"}),
    ]
    done = runner("graph", "--output", "json", runner.write(group(tasks, name="three")))
    assert (done.status, done.stderr) == (0, "")
    common: dict[str, Any] = {"type": "os_exec", "imports": [], "when": "success", "if": None}
    taken = [{"from": "first", "variable": "ok"}]
    assert done.json == {
        "name": "three",
        "depth": 2,
        "tasks": [
            {**common, "name": "first", "layer": 1, "waits_for": []},
            {**common, "name": "later", "layer": 2, "waits_for": ["first"], "when": "always"},
            {**common, "name": "last", "layer": 2, "waits_for": ["first"], "imports": taken, "if": "{{ .first.ok == 'yes' }}"},
        ],
    }  # fmt: skip
    refused = runner("graph", "--output", "json", runner.write("taskGroup: 7\n", "bad.yaml"))
    assert (refused.status, refused.stdout) == (2, "")


def test_a_large_graph(runner: Command) -> None:
    tasks = [
        shell(f"t{i}", "true", depends_on=[f"t{i - 100 + k}" for k in range(3)] if i >= 100 else [])
        for i in range(1000)
    ]
    done = runner("graph", runner.write(group(tasks)))
    assert done.status == 0
    assert len(done.stdout.splitlines()) > 1000


@pytest.mark.parametrize("command", ["validate", "graph"])
def test_a_reader_that_left(runner: Command, command: str) -> None:
    document = runner.write(group([shell(f"t{i}", "true") for i in range(3000)]))
    process = runner.start(command, document, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 0


def test_help_and_version(runner: Command) -> None:
    assert runner("--version").stdout.startswith("runner ")
    for arguments in (("--help",), ("run", "--help"), ("validate", "--help"), ("graph", "--help")):
        done = runner(*arguments)
        assert (done.status, done.stderr) == (0, "")
        assert "usage: runner" in done.stdout
