"""`runner shell` through a node: as on what is kept here; and what becomes of it when somebody is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.config.service import DEFAULT_SCOPES, Scope
from runner.tokens import Tokens
from tests.acceptance.command import Command, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.screens import Open
from tests.acceptance.shelling import is_alive, until, until_written
from tests.acceptance.test_shell import has_paused, keys_and_sizes_arrive, prompts

SECRET = "correct horse battery staple"
STUBBORN = b"trap '' HUP TERM; setsid sh -c \"trap '' HUP TERM; sleep 1000; :\" & echo $! $$ > %s; wait\n"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state")
    node.start()
    yield node
    node.remove()


@pytest.fixture
def there(runner: Command, node: Node) -> dict[str, str]:
    """What names the node to a command, on which the task `slow` of the group `it` runs."""
    place = {"RUNNER_TO": node.socket}
    slow = {"command": "echo begun > begun; exec sleep 1000", "envs": {"TOKEN": "{{ .inputs.token }}", "OPEN": "yes"}}
    document = group(
        [{"name": "slow", "type": "os_exec", "spec": slow}, shell("fails", "exit 1")],
        inputs={"token": {"confidential": True, "default": SECRET}},
    )
    assert runner("submit", runner.write(document), "--id", "it", environment=place).status == 0
    until(lambda: '"running"' in runner("get", "it", "--output", "json", environment=place).stdout)
    return place


def test_as_on_what_is_kept_here(runner: Command, there: dict[str, str]) -> None:
    done = runner(
        "shell", "@last", "slow", stdin=b"cat begun; echo $OPEN$TOKEN; echo err >&2; exit 7", environment=there
    )
    assert (done.status, done.stdout) == (7, "begun\nyes\n")
    assert done.stderr.splitlines() == [
        "runner: not in this environment, for it is confidential: TOKEN (--secrets gives it)",
        "err",
    ]
    with_it = runner("shell", "i", "slow", "--secrets", "--", "sh", "-c", "echo $TOKEN", environment=there)
    assert (with_it.status, with_it.stdout, with_it.stderr) == (0, f"{SECRET}\n", "")
    absent = runner("shell", "it", "slow", "--", "no-such-program", environment=there)
    assert absent.status == 127
    assert absent.stderr.startswith("runner: not in") or "'no-such-program' was not found in PATH" in absent.stderr
    assert runner("shell", "it", "slow", "--", "sh", "-c", "kill -9 $$", environment=there).status == 137
    for arguments, words in (
        (["it", "other"], "the group has no task 'other' (it has slow and fails)"),
        (["none", "slow"], "there is no group with the id 'none'"),
        (["it", "slow", "--attempt", "2"], "the task 'slow' has no attempt 2: the last one was 1"),
    ):
        done = runner("shell", *arguments, environment=there)
        assert (done.status, done.stderr) == (2, f"runner: {words}\n")


def test_bytes_are_left_as_they_are(runner: Command, there: dict[str, str]) -> None:
    everything = os.urandom(10 << 20)
    process = runner.start("shell", "it", "slow", "--", "cat", stdin=-1, stdout=-1, environment=there)
    out, _ = process.communicate(everything, timeout=40)
    assert process.returncode == 0
    assert out == everything


def test_a_terminal(runner: Command, there: dict[str, str], at_terminal: Open) -> None:
    terminal = at_terminal("shell", "it", "slow", columns=91, lines=23, environment=there)
    terminal.until(prompts)
    terminal.type("stty size; echo $TERM; cat\rtyped back\r")
    terminal.until(lambda one: one.display.count("typed back") == 2)
    assert "23 91" in terminal.display
    assert "xterm-256color" in terminal.display
    keys_and_sizes_arrive(terminal)


def begun(runner: Command, there: dict[str, str], **options: Any) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A shell that nothing but force ends, and the processes of it."""
    process = runner.start("shell", "it", "slow", stdin=subprocess.PIPE, environment=there, **options)
    assert process.stdin is not None
    pids = runner.folder / "pids"
    process.stdin.write(STUBBORN % bytes(pids))
    process.stdin.flush()
    found = until_written(pids)
    assert all(map(is_alive, found))
    return process, found


def test_a_caller_who_is_killed_leaves_nothing(runner: Command, there: dict[str, str]) -> None:
    process, pids = begun(runner, there)
    process.kill()
    until(lambda: not any(map(is_alive, pids)))
    assert '"running"' in runner("get", "it", "--output", "json", environment=there).stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_ends_leaves_nothing_of_it_and_the_task_goes_on(
    runner: Command, node: Node, there: dict[str, str], number: signal.Signals
) -> None:
    process, pids = begun(runner, there, stderr=subprocess.PIPE)
    node.end(number)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 1
    if number is signal.SIGTERM:
        assert b"has ended the shell: this runner is about to end" in said
    else:
        assert re.search(rb"runner: \S+ does not answer", said)
    until(lambda: not any(map(is_alive, pids)))
    node.start()
    assert '"running"' in runner("get", "it", "--output", "json", environment=there).stdout
    assert runner("shell", "it", "slow", "--", "cat", "begun", environment=there).stdout == "begun\n"


def test_a_supervisor_that_is_killed_takes_it_along(runner: Command, node: Node, there: dict[str, str]) -> None:
    process, pids = begun(runner, there, stderr=subprocess.PIPE)
    parent = int(Path(f"/proc/{pids[1]}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 1
    assert b"has ended the shell: what it ran under has ended" in said
    until(lambda: not any(map(is_alive, pids)))


def test_both_that_are_killed_leave_nothing_to_the_next(runner: Command, node: Node, there: dict[str, str]) -> None:
    process, pids = begun(runner, there)
    parent = int(Path(f"/proc/{pids[1]}/stat").read_text().rsplit(")", 1)[1].split()[1])
    node.end(signal.SIGKILL)
    os.kill(parent, signal.SIGKILL)
    process.wait(40)
    node.start()
    until(lambda: not any(map(is_alive, pids)))


def stands_still(runner: Command, there: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """A caller who is shown more than anybody takes and does nothing any more, and the process that shows it."""
    command = ("sh", "-c", "echo $$; exec yes")
    process = runner.start("shell", "it", "slow", "--", *command, stdin=-1, stdout=-1, environment=there)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGSTOP)
    until(lambda: has_paused(pid))
    return process, pid


def test_a_caller_who_stands_still_does_not_keep_a_group(runner: Command, there: dict[str, str]) -> None:
    process, pid = stands_still(runner, there)
    assert runner("cancel", "it", environment=there).status == 0
    until(lambda: '"running"' not in runner("get", "it", "--output", "json", environment=there).stdout)
    assert runner("rm", "it", environment=there).status == 0
    assert not is_alive(pid)
    process.kill()


def test_a_caller_who_stands_still_loses_the_shell_with_the_right(runner: Command, tmp_path: Path) -> None:
    config = tmp_path / "runner.toml"
    config.write_text('[[rules]]\ncallers = ["ada"]\nscopes = ["submit", "read", "shell"]\n')
    node = Node(tmp_path / "state", options=["--config", str(config)])
    node.start()
    try:
        token = node.token("ada", DEFAULT_SCOPES | {Scope.SHELL})
        there = {"RUNNER_TO": node.socket, "RUNNER_TOKEN": token}
        document = runner.write(group([shell("slow", "exec sleep 1000")]))
        assert runner("submit", document, "--id", "it", environment=there).status == 0
        until(lambda: '"running"' in runner("get", "it", "--output", "json", environment=there).stdout)
        process, pid = stands_still(runner, there)
        (use,) = Tokens(tmp_path / "state").all()
        Tokens(tmp_path / "state").revoke(use.token.id)
        until(lambda: not is_alive(pid))
        process.kill()
    finally:
        node.remove()


def test_the_terminal_is_whole_when_the_node_is_killed(
    runner: Command, node: Node, there: dict[str, str], at_terminal: Open
) -> None:
    terminal = at_terminal("shell", "it", "slow", environment=there)
    terminal.until(prompts)
    node.end(signal.SIGKILL)
    assert terminal.end() == 1
    assert "does not answer" in terminal.text
    terminal.assert_whole()
