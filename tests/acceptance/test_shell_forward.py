"""`runner shell` through a forward: the node that is asked passes it on to the one where the task runs, whose rules decide."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.config.service import Scope
from tests.acceptance.command import Command, shell
from tests.acceptance.screens import Open
from tests.acceptance.shelling import is_alive, until, until_written
from tests.acceptance.test_forward import ONPREM, Pair
from tests.acceptance.test_shell import WAITS_FOR_A_SIZE, prompts

SECRET = "correct horse battery staple"
STUBBORN = b"trap '' HUP TERM; setsid sh -c \"trap '' HUP TERM; sleep 1000; :\" & echo $! $$ > %s; wait\n"
OPEN = {"token": {"confidential": True, "default": SECRET}}


def far(**more: Any) -> dict[str, Any]:
    task = shell("far", "echo begun > begun; exec sleep 1000", **more)
    task["spec"]["envs"] = {"TOKEN": "{{ .inputs.token }}", "OPEN": "yes"}
    return task


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with begun(Pair(tmp_path)) as pair:
        yield pair


@contextmanager
def begun(pair: Pair) -> Iterator[Pair]:
    pair.onprem.start()
    pair.cloud.start()
    pair.until(lambda: pair.has_said("peer_back"))
    try:
        yield pair
    finally:
        pair.cloud.remove()
        pair.onprem.remove()


def running(pair: Pair, *, whole: bool = False) -> str:
    """A group whose task runs over there."""
    more: dict[str, Any] = {"inputs": OPEN}
    id = pair.submit(far(), forward=ONPREM, **more) if whole else pair.submit(far(forward=ONPREM), **more)
    pair.until(lambda: list(pair.folder.glob("onprem/state/workspaces/.guests/*/begun")))
    pair.until(lambda: pair.result(id).results["far"].status == "running")
    return id


@pytest.mark.parametrize("whole", [False, True], ids=["a task", "a group"])
def test_it_is_where_the_task_runs(runner: Command, pair: Pair, whole: bool) -> None:
    id, place = running(pair, whole=whole), {"RUNNER_TO": pair.cloud.socket}
    done = runner(
        "shell", id, "far", stdin=b"pwd; cat begun; echo $OPEN$TOKEN; echo err >&2; exit 7", environment=place
    )
    folder, *rest = done.stdout.splitlines()
    assert (done.status, rest) == (7, ["begun", "yes"])
    assert folder.startswith(f"{pair.folder}/onprem/state/workspaces/.guests/")
    assert done.stderr.splitlines() == [
        "runner: not in this environment, for it is confidential: TOKEN (--secrets gives it)",
        "err",
    ]
    with_it = runner("shell", id, "far", "--secrets", "--", "sh", "-c", "echo $TOKEN", environment=place)
    assert (with_it.status, with_it.stdout) == (0, f"{SECRET}\n")
    absent = runner("shell", id, "far", "--", "no-such-program", environment=place)
    assert absent.status == 127
    everything = os.urandom(5 << 20)
    process = runner.start("shell", id, "far", "--", "cat", stdin=-1, stdout=-1, environment=place)
    out, _ = process.communicate(everything, timeout=40)
    assert out == everything


def test_a_terminal(runner: Command, pair: Pair, at_terminal: Open) -> None:
    id = running(pair)
    terminal = at_terminal("shell", id, "far", columns=91, lines=23, environment={"RUNNER_TO": pair.cloud.socket})
    terminal.until(prompts)
    terminal.type("stty size\r")
    terminal.until(lambda one: "23 91" in one.display)
    terminal.type(WAITS_FOR_A_SIZE)
    terminal.until(lambda one: "waits" in one.display)
    terminal.resize(70, 20)
    terminal.until(lambda one: "20 70" in one.display)
    terminal.until(prompts)
    terminal.type("exit 5\r")
    assert terminal.end() == 5
    terminal.assert_whole()


@pytest.mark.parametrize("killed", ["caller", "cloud", "onprem"])
def test_whoever_is_killed_nothing_is_left(runner: Command, pair: Pair, killed: str) -> None:
    id = running(pair)
    process = runner.start(
        "shell", id, "far", stdin=subprocess.PIPE, stderr=subprocess.PIPE, environment={"RUNNER_TO": pair.cloud.socket}
    )
    assert process.stdin is not None
    pids = runner.folder / "pids"
    process.stdin.write(STUBBORN % bytes(pids))
    process.stdin.flush()
    found = until_written(pids)
    if killed == "caller":
        process.kill()
    else:
        (pair.cloud if killed == "cloud" else pair.onprem).end(signal.SIGKILL)
        _, said = process.communicate(timeout=40)
        assert process.returncode == 1
        if killed == "onprem":
            assert b"has ended the shell: onprem does not answer" in said
    until(lambda: not any(map(is_alive, found)))


def test_what_is_printed_holds_up_nothing_else(runner: Command, pair: Pair) -> None:
    """Whoever takes nothing of it, either."""
    id, place = running(pair), {"RUNNER_TO": pair.cloud.socket}
    process = runner.start("shell", id, "far", "--", "yes", stdout=subprocess.PIPE, environment=place)
    assert process.stdout is not None
    assert process.stdout.read(1 << 20)
    other = pair.submit(shell("other", "echo done", forward=ONPREM))
    assert pair.finished(other).status == "success"
    assert pair.log(other, "other") == b"done\n"
    process.kill()


def test_what_it_refuses_is_told_with_who_refuses(runner: Command, tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    rules = tmp_path / "onprem" / "runner.toml"
    token = tmp_path / "cloud" / "token"
    token.write_text(pair.onprem.token("cloud", frozenset({Scope.DISPATCH, Scope.SHELL, Scope.REVEAL})))
    token.chmod(0o600)
    config = tmp_path / "cloud" / "runner.toml"
    config.write_text(config.read_text() + f'token_file = "{token}"\n')
    pair.onprem._options = ["--config", str(rules)]
    given = 'name = "on-premises"\n[[rules]]\ncallers = ["cloud"]\nscopes = [{}]\n{}'
    rules.write_text(given.format('"dispatch"', ""))
    with begun(pair):
        id, place = running(pair), {"RUNNER_TO": pair.cloud.socket}

        def asked(*more: str) -> tuple[int, str]:
            done = runner("shell", id, "far", *more, "--", "sh", "-c", 'test "$TOKEN"', environment=place)
            return done.status, done.stderr

        def told(scopes: str, more: str = "") -> None:
            rules.write_text(given.format(scopes, more))
            os.kill(pair.onprem.pid, signal.SIGHUP)

        which = "runner: it ran on 'onprem', which says: "
        assert asked() == (2, f"{which}this needs the scope `shell`, which no rule of this runner gives to 'cloud'\n")
        told('"dispatch", "shell"')
        until(lambda: asked()[0] == 1)  # there is one, without the secret
        status, said = asked("--secrets")
        assert (status, said[: len(which) + 56]) == (
            2,
            f"{which}this needs the scope `reveal`, which 'cloud' does not have here"[: len(which) + 56],
        )
        told('"dispatch", "shell"', 'on_behalf_of = ["ada"]')
        until(lambda: "on behalf of 'local'" in asked()[1])
        told('"dispatch", "shell"', 'types = ["expression_*"]')
        until(lambda: "covers this task" in asked()[1])
        told('"dispatch", "shell", "reveal"')
        until(lambda: asked("--secrets")[0] == 0)


def test_where_a_group_is_over_its_workspace_is_gone_there(runner: Command, pair: Pair) -> None:
    id, place = running(pair), {"RUNNER_TO": pair.cloud.socket}
    assert runner("cancel", id, environment=place).status == 0
    pair.finished(id)
    until(lambda: not list(pair.folder.glob("onprem/state/workspaces/.guests/*/begun")))
    done = runner("shell", id, "far", environment=place)
    assert done.status == 2
    assert done.stderr.startswith("runner: it ran on 'onprem', which says: the workspace of the group is gone")
    pair.onprem.end(signal.SIGKILL)
    pair.until(lambda: pair.has_said("peer_lost"))
    done = runner("shell", id, "far", environment=place)
    assert done.status == 2
    assert done.stderr == "runner: it ran on 'onprem', and onprem does not answer: try again later\n"
