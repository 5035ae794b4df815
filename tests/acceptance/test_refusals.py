"""What the command says, word by word, to whoever used it wrongly: what, where, and what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.cli.commands import COMMANDS
from tests.acceptance.command import Command, Done, group, shell
from tests.acceptance.forked import forked
from tests.acceptance.screens import Open

Say = Callable[..., Done]

DOCUMENT = """\
inputs:
  tag: {default: x}
  password: {confidential: true, default: x}
taskGroup:
- {name: a, type: os_exec, spec: {command: "true"}}
"""
NODELESS = (
    "no node is named: give --to host:port, unix:/path or local, or keep one with `runner context add`; "
    "`runner run` runs a group here, without any"
)
TWICE = "standard input can be read only once; give - once"


@pytest.fixture(scope="module")
def _forked() -> Iterator[Say]:
    with forked() as say:
        yield say


@pytest.fixture
def say(_forked: Say, tmp_path: Path) -> Say:
    """Give a command in a folder of its own."""
    (tmp_path / "group.yaml").write_text(DOCUMENT)

    def said(*arguments: str, folder: Path = tmp_path, **more: object) -> Done:
        return _forked(folder, *arguments, **more)

    return said


def refused(say: Say, line: str, message: str, **more: object) -> None:
    done = say(*line.split(), **more)
    assert (done.stderr, done.stdout, done.status) == (f"runner: {message}\n", "", 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "runner: the following arguments are required: COMMAND; `runner --help` says more"),
        ("rum x", "runner: argument COMMAND: 'rum' is not known (is rm meant?); `runner --help` says more"),
        (
            "--nope ls",
            "runner: not expected here: --nope (a command's options stand behind it); `runner --help` says more",
        ),
        ("--hlep", "runner: not expected here: --hlep (is --help meant?); `runner --help` says more"),
        (
            "--to local ls",
            "runner: not expected here: --to (a command's options stand behind it); `runner --help` says more",
        ),
        (
            "certs --node=n init",
            "runner certs: not expected here: --node=n (a command's options stand behind it); `runner certs --help` says more",
        ),
        (
            "group.yaml --set tag=1",
            "runner: argument COMMAND: 'group.yaml' is not known (is `runner run group.yaml` meant?); `runner --help` says more",
        ),
        (
            "group",
            "runner: argument COMMAND: 'group' is not known (is `runner run group.yaml` meant?); `runner --help` says more",
        ),
        ("help run", "runner: argument COMMAND: 'help' is not known (is --help meant?); `runner --help` says more"),
        ("status", "runner: argument COMMAND: 'status' is not known (is get meant?); `runner --help` says more"),
        (
            "run group.yaml tag=1.10",
            "runner run: not expected here: tag=1.10 (is --set tag=1.10 meant?); `runner run --help` says more",
        ),
        (
            "validate group.yaml --tag=1",
            "runner validate: not expected here: --tag=1; `runner validate --help` says more",
        ),
        ("graph group.yaml tag=1", "runner graph: not expected here: tag=1; `runner graph --help` says more"),
        (
            "run group.yaml --to=local",
            "runner run: not expected here: --to=local (`runner submit` has it); `runner run --help` says more",
        ),
        (
            "rerun x --from=a --set tag=1",
            ("runner rerun: not expected here: --set (`runner run` has it), tag=1; `runner rerun --help` says more"),
        ),
        (
            "run --set tag x group.yaml",
            "runner run: not expected here: group.yaml ('x' was taken for the FILE); `runner run --help` says more",
        ),
        (
            "run group.yaml -n -j4 -x",
            (
                "runner run: not expected here: -n (is --dry-run meant?), -j4 (is --max-parallel meant?), -x; "
                "`runner run --help` says more"
            ),
        ),
        ("run", "runner run: the following arguments are required: FILE; `runner run --help` says more"),
        (
            "run x --max-parallel 0",
            "runner run: argument --max-parallel: '0' is no whole number from 1 to 999999; `runner run --help` says more",
        ),
        (
            "run --max-paralel=3 x",
            "runner run: not expected here: --max-paralel=3 (is --max-parallel meant?); `runner run --help` says more",
        ),
        (
            "run x --progress odd",
            "runner run: argument --progress: 'odd' is not known; expected auto, live or plain; `runner run --help` says more",
        ),
        ("run x --id", "runner run: argument --id: expected one argument; `runner run --help` says more"),
        (
            "run x --state-dir=",
            "runner run: argument --state-dir: it is empty: give it a value, or leave the option away; `runner run --help` says more",
        ),
        (
            "run x --timeout 0s",
            "runner run: argument --timeout: '0s': must be more than nothing; `runner run --help` says more",
        ),
        (
            "run x --label =x",
            "runner run: argument --label: '=x' is no label: expected KEY=VALUE; `runner run --help` says more",
        ),
        ("graph a b", "runner graph: not expected here: b; `runner graph --help` says more"),
        ("validate", "runner validate: the following arguments are required: FILE; `runner validate --help` says more"),
        (
            "logs x --offset=-1",
            "runner logs: argument --offset: '-1' is no number of bytes; `runner logs --help` says more",
        ),
        ("certs", "runner certs: the following arguments are required: ACTION; `runner certs --help` says more"),
        (
            "certs issue x --hots=a",
            "runner certs issue: not expected here: --hots=a (is --host meant?); `runner certs issue --help` says more",
        ),
        (
            "token create x --expires soon",
            (
                "runner token create: argument --expires: 'soon': expected a duration such as 90, 1.5s, 2m30s or 1h, or `never`; "
                "`runner token create --help` says more"
            ),
        ),
        (
            "token create x --expires 1ms",
            (
                "runner token create: argument --expires: '1ms': a token is good for a second at least; "
                "`runner token create --help` says more"
            ),
        ),
    ],
)
def test_a_line_that_is_no_command(say: Say, line: str, message: str) -> None:
    done = say(*line.split())
    assert (done.stderr, done.stdout, done.status) == (f"{message}\n", "", 2)


def test_a_command_that_resembles_none_is_answered_with_all(say: Say) -> None:
    *names, last = COMMANDS
    assert say("xyzzy").stderr == (
        f"runner: argument COMMAND: 'xyzzy' is not known; expected {', '.join(names)} or {last}; `runner --help` says more\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run none.yaml", "none.yaml: there is no such file; give the path of a task group, or - for standard input"),
        (
            "run group",
            "group: there is no such file (is group.yaml meant?); give the path of a task group, or - for standard input",
        ),
        (
            "graph ./grup.yml",
            "./grup.yml: there is no such file (is ./group.yaml meant?); give the path of a task group, or - for standard input",
        ),
        ("run .", ".: this is a folder; give the path of a task group in it"),
        (
            "run " + "x" * 300,
            "x" * 300 + ": cannot be read: File name too long; give the path of a task group that you may read",
        ),
        ("run group.yaml --set tag", "--set tag: expected name=value"),
        ("run group.yaml --set =x", "--set =x: expected name=value"),
        ("run group.yaml --set tag=a --set tag=b", "--set tag: this input is given twice; give it once"),
        (
            "run group.yaml --set-secret tag=env:PATH",
            "--set-secret tag: the document would not keep it secret; declare the input `confidential: true`",
        ),
        ("run group.yaml --set-secret password=env:NO_SUCH", "the environment variable 'NO_SUCH' is not set"),
        (
            "run group.yaml --set-secret password=@bytes",
            "--set-secret password: the value is no UTF-8 text; encode it, e.g. with base64",
        ),
        (
            "run group.yaml --set-secret password=@nul",
            "the input 'password' contains a NUL character; encode it, e.g. with base64",
        ),
        ("run group.yaml --set tag=\udcff", "the input 'tag' is no UTF-8 text; encode it, e.g. with base64"),
        ("run --watch -", "--watch reads everything again, which standard input cannot be: write it to a file"),
        (
            "run --watch --dry-run group.yaml",
            "--dry-run starts nothing, so --watch has nothing to end: give one of them",
        ),
        ("run --watch --id x group.yaml", "--id names one run, and --watch makes many: give one of them"),
        ("validate - -", TWICE),
        ("fmt - -", TWICE),
        ("logs x --offset 3", "--offset counts the bytes of one stream: give --stdout or --stderr with it"),
        ("logs x --stdout", "--attempt, --stdout and --stderr are about one task: name it behind the id"),
        ("info", NODELESS),
        ("context use", "give the name of a context, or --none"),
        ("context add a/b x:1", "'a/b' cannot be the name of a context: expected letters, digits, `.`, `_` and `-`"),
        (
            "secrets rotate --state-dir new",
            "{here}/new has no sealing key: nothing was ever sealed there; give another state directory",
        ),
        ("backup group.yaml --state-dir kept", "group.yaml is there already: remove it, or name another file"),
        (
            "backup --output json --state-dir kept -",
            "standard output cannot have both the backup and JSON: name a file",
        ),
        (
            "supervisor --state-dir /proc/self/x",
            "the folder /proc/self/x cannot be made or used: No such file or directory: /proc/self/x; give another one",
        ),
        ("certs init --dir certs --days 99999", "a certificate can be good for 1 to 36,500 days, not 99,999"),
        ("certs issue x --dir certs", "there is no authority in {here}/certs: `runner certs init` makes one"),
    ],
)
def test_refused(say: Say, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "nul").write_bytes(b"\0")
    refused(say, line.replace("{here}", str(tmp_path)), message.replace("{here}", str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"#" * 1_100_000, "{file} is over 1,048,576 bytes: that is no file of contexts; move it away"),
        (b"[contexts.x]", '{file}: contexts.x: target is missing, e.g. target = "build.example:8443"'),
        (
            b"[contexts.x]\ntarget = 'unix:'",
            "{file}: contexts.x: 'unix:' names no socket: expected host:port, [v6 address]:port or unix:/path/of/a/socket",
        ),
    ],
)
def test_a_file_of_contexts(say: Say, tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / ".config/runner/contexts.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text)
    file.chmod(0o600)
    refused(say, "context ls", message.replace("{file}", str(file)))


def test_contexts_that_cannot_be_kept(say: Say) -> None:
    assert say("context", "add", "ci", "host:1").status == 0
    refused(say, "context add ci host:2", "there is a context 'ci' already; --replace puts this one in its place")
    done = say("context", "add", "new", "host:1", "--server-name", "a\nb")
    assert done.stderr == "runner: 'a\\nb' holds characters that cannot be kept; give it without them\n"


def test_a_token_is_given_once(say: Say) -> None:
    two = {"RUNNER_TOKEN": "a", "RUNNER_TOKEN_FILE": "b"}
    refused(
        say, "ls --to host:1", "RUNNER_TOKEN and RUNNER_TOKEN_FILE are two tokens: set one of them", environment=two
    )


def test_of_a_run_that_is_kept(say: Say, tmp_path: Path) -> None:
    assert say("run", "group.yaml", "--id", "x").status == 0
    refused(
        say,
        "signal x a pause",
        "the tasks of `runner run` take no signals from outside (pause); a node's do: start one with `runner serve`",
    )


def test_who_does_not_agree_loses_nothing(runner: Command, at_terminal: Open) -> None:
    runner("run", runner.write(DOCUMENT), "--id", "x")
    terminal = at_terminal("rm", "--all")
    terminal.until("for good? [y/N]")
    terminal.type("no\n")
    assert terminal.end() == 2
    told = terminal.all_text.replace("\n", "")
    assert "runner: nothing was removed: only y or yes is taken for an agreement; --force does not ask" in told


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        ("supervisor.lock", "cannot use the state directory {state}: [Errno 21] Is a directory: 'supervisor.lock'; mend that, or give another one"),
        ("supervisor.sock", "cannot listen in {state}: [Errno 21] Is a directory: 'supervisor.sock'; mend that, or give another folder"),
    ],
)  # fmt: skip
def test_a_supervisor_that_cannot_serve(say: Say, tmp_path: Path, taken: str, message: str) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / taken).mkdir()
    done = say("supervisor", "--state-dir", "state")
    assert (done.stderr, done.status) == (f"runner supervisor: {message.format(state=state)}\n", 1)


def test_a_backup_is_nothing_for_a_screen(at_terminal: Open) -> None:
    terminal = at_terminal("backup", "-", columns=200)
    assert (terminal.end(), terminal.text) == (
        2, "runner: a backup is not written to a terminal: name a file, or send it somewhere"
    )  # fmt: skip


def test_a_run_that_works_elsewhere_now(say: Say, tmp_path: Path) -> None:
    """`rerun` in another folder says so, and does it."""
    (tmp_path / "false.yaml").write_text(group([shell("a", "false")]))
    say("run", "false.yaml", "--id", "x")
    (tmp_path / "other").mkdir()
    there = {"XDG_STATE_HOME": str(tmp_path / ".local/state")}
    done = say("rerun", "x", folder=tmp_path / "other", environment=there)
    assert f"runner: x worked in {tmp_path}, and this works in {tmp_path}/other\n" in done.stderr


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        (
            "unix:/proc/self/x",
            "/proc/self/x cannot be listened on: this user may make nothing in /proc/self; listen somewhere else",
        ),
        (
            "unix:{here}/no/x",
            "{here}/no/x cannot be listened on: there is no folder {here}/no; make it, or listen somewhere else",
        ),
        (
            "unix:{here}/group.yaml",
            "{here}/group.yaml is there already and no socket: remove it, or listen somewhere else",
        ),
        ("unix:{here}/used", "{here}/used is in use: another runner listens there; end it, or listen somewhere else"),
    ],
)
def test_a_node_that_cannot_listen(say: Say, tmp_path: Path, listen: str, message: str) -> None:
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(tmp_path / "used"))
        used.listen()
        assert failed(say, tmp_path, "--listen", listen) == message.replace("{here}", str(tmp_path))


def failed(say: Say, here: Path, *arguments: str) -> str:
    """What a node says as its last word."""
    done = say("serve", "--state-dir", "state", *(each.replace("{here}", str(here)) for each in arguments))
    last = json.loads(done.stderr.splitlines()[-1])
    assert (last["action"], done.status) == ("node_failed", 2)
    return str(last["message"])


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (
            "metrics.listen = ['unix:/proc/x']",
            "metrics.listen: unix:/proc/x cannot be listened on: No such file or directory; give another address",
        ),
        (
            "tracing.endpoint = 'http://127.0.0.1:1'\ntracing.headers_file = 'bytes'",
            "tracing.headers_file: {here}/bytes is no text in ASCII; expected lines of `name: value`",
        ),
        (
            "tracing.endpoint = 'http://127.0.0.1:1'\ntracing.headers_file = 'group.yaml'",
            "tracing.headers_file: {here}/group.yaml:1 is no header; expected `name: value`",
        ),
    ],
)
def test_a_node_with_a_file_that_is_none(say: Say, tmp_path: Path, configuration: str, message: str) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "runner.toml").write_text(configuration)
    assert failed(say, tmp_path, "--config", "runner.toml", "--listen", "unix:{here}/s") == message.replace(
        "{here}", str(tmp_path)
    )
