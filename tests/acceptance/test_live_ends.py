"""What a live view leaves behind: Ctrl-C, Ctrl-Z, signals, windows that are closed. The terminal is whole on every way out."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.acceptance.command import RUNNER, Command, group, shell
from tests.acceptance.screens import Open, gate, open_gate, plainly

pytestmark = pytest.mark.timeout(120)

WORKS = "trap 'echo asked to end; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def test_what_is_complained_about_stands_above(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("work", WORKS)]))
    terminal = at_terminal("run", document)
    terminal.until("ready")
    terminal.type("typed in vain")
    terminal.type("\x03")
    assert terminal.end() == 130
    lines = [plainly(line) for line in terminal.text.splitlines()]
    assert lines[1:3] == [
        "runner: stopping: running tasks are asked to end, clean-up still runs",
        "✗ work  aborted  TIME  the group was cancelled · asked to end",
    ]
    assert "stopping, " not in terminal.text
    assert "typed in vain" not in terminal.text
    terminal.assert_whole()


def test_where_errors_go_elsewhere_the_view_alone_says_that_it_stops(runner: Command, at_terminal: Open) -> None:
    document = runner.write(
        group([shell("work", f"trap '{gate(runner, 'gate')}; exit 0' TERM; echo ready; while :; do sleep 0.05; done")])
    )
    with open(runner.folder / "errors", "wb") as errors:
        terminal = at_terminal("run", document, stderr=errors.fileno())
        terminal.until("ready")
        terminal.type("\x03")
        terminal.until("\nstopping, the group was cancelled\n")
        open_gate(runner, "gate")
        assert terminal.end() == 130
    assert "runner: stopping" in (runner.folder / "errors").read_text()
    assert "runner: " not in terminal.text


def test_ctrl_c_lets_cleanup_run_and_twice_kills(runner: Command, at_terminal: Open) -> None:
    clean = shell("clean", "echo cleaning; exec sleep 600", depends_on=["work"], when="always")
    document = runner.write(group([shell("work", WORKS), clean]))
    terminal = at_terminal("run", document)
    terminal.until("ready")
    terminal.type("\x03")
    terminal.until("once more ends clean-up too")
    terminal.until("cleaning")
    assert "stopping, the group was cancelled" in terminal.text
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "runner: stopping without clean-up: what still runs is killed" in terminal.text
    assert "task group: aborted (the group was cancelled) after" in terminal.text
    assert "clean  aborted: the group was cancelled" in terminal.text
    terminal.assert_whole()


def test_twice_kills_what_does_not_want_to_end(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("work", STUBBORN)]))
    terminal = at_terminal("run", document)
    terminal.until("ready")
    terminal.type("\x03")
    terminal.until("once more ends clean-up too")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "aborted (the group was cancelled)" in terminal.text
    terminal.assert_whole()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_runner_that_is_ended_leaves_the_terminal_whole(
    runner: Command, at_terminal: Open, number: signal.Signals
) -> None:
    document = runner.write(group([shell("work", WORKS)]))
    terminal = at_terminal("run", document)
    terminal.until("ready")
    terminal.process.send_signal(number)
    assert terminal.end() == (130 if number is signal.SIGTERM else -signal.SIGKILL)
    terminal.assert_whole()


def test_a_window_that_is_closed_ends_the_group(runner: Command, at_terminal: Open) -> None:
    document = runner.write(
        group([shell("work", f"{WORKS}; true"), shell("clean", "touch cleaned", depends_on=["work"], when="always")])
    )
    terminal = at_terminal("run", document)
    terminal.until("ready")
    terminal.hang_up()
    assert terminal.process.wait() != 0
    assert (runner.folder / "cleaned").exists()


def test_who_comes_back_finds_a_new_picture(runner: Command, at_terminal: Open) -> None:
    runner.write(group([shell("work", f"echo ready; {gate(runner, 'gate')}; echo over")]))
    terminal = at_terminal("run", "group.yaml")
    terminal.until("ready")
    terminal.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
    while terminal._read(0.0):
        pass
    os.write(terminal._inner, b"what the shell says\r\n")
    terminal.until("what the shell says")
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until(lambda seen: seen.text.count("work  running") == 2)
    open_gate(runner, "gate")
    assert terminal.end() == 0
    assert "what the shell says" in terminal.text
    terminal.assert_whole()


def test_in_the_background_lines_are_plain(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("t", "echo hello")]))
    script = 'set -m; "$@" & wait $!'
    terminal = at_terminal("run", document, command=("bash", "-c", script, "bash", *RUNNER))
    assert terminal.end() == 0
    assert "t  | hello" in terminal.text
    assert b"\x1b" not in terminal.raw


def test_who_stops_watching_leaves_a_whole_terminal(runner: Command, at_terminal: Open) -> None:
    runner.write(group([shell("work", f"echo ready; {gate(runner, 'gate')}")]))
    process = runner.start("run", "group.yaml", "--id", "one", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        terminal = at_terminal("watch", "one")
        terminal.until("ready")
        terminal.process.send_signal(number)
        assert terminal.end() == status
        assert "Traceback" not in terminal.text
        terminal.assert_whole()
    open_gate(runner, "gate")
    assert process.wait() == 0
