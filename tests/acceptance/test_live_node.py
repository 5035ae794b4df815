"""The live view of what a node does: what is known of it comes from the node, which may die meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.screens import Open, gate, open_gate, plainly

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state", "127.0.0.1:0")
    node.start()
    yield node
    node.remove()


@pytest.fixture
def at_terminal(at_terminal: Open, node: Node) -> Open:
    """Where commands ask that node."""
    return partial(at_terminal, environment={"RUNNER_TO": node.socket})


def test_what_is_followed_has_its_reasons_from_the_node(runner: Command, at_terminal: Open) -> None:
    tasks = [
        shell("one", f"echo ready; {gate(runner, 'gate')}"),
        shell("two", f"echo ready; {gate(runner, 'other')}; exit 3"),
        shell("late", "true", depends_on=["one", "two"]),
        shell("last", "true", depends_on=["late"]),
    ]
    runner.write(group(tasks, name="ship"))
    terminal = at_terminal("submit", "group.yaml", "--follow", "--id", "one")
    terminal.until(lambda seen: seen.text.count("ready") == 2 and "for late" in seen.text)
    assert [plainly(line) for line in terminal.display[1:5]] == [
        "▸ one   running  TIME  ready",
        "▸ two   running  TIME  ready",
        "· late  waiting         for one and two",
        "· last  waiting         for late",
    ]
    beside = at_terminal("watch", "one")
    beside.until("for one and two")
    open_gate(runner, "gate")
    for each in (terminal, beside):
        each.until("for two\n")
    open_gate(runner, "other")
    for each in (terminal, beside):
        assert each.end() == 1
        lines = [plainly(line) for line in each.text.splitlines()]
        assert lines[2] == "✗ two   failed   TIME  exit code 3 · ready"
        assert lines[-8:-5] == [
            "  two   failed: exit code 3",
            "        | ready",
            "  late  skipped because two did not succeed",
        ]
        assert lines[-2].startswith("  runner explain one ")
        each.assert_whole()
    again = at_terminal("rerun", "one", "--follow", "--id", "two")
    again.until("▸ two   running")
    assert again.display[1] == "✓ one   success"  # it was taken over
    open_gate(runner, "other")
    assert again.end() == 1
    again.assert_whole()


def test_ctrl_c_cancels_there_and_the_view_says_so(runner: Command, at_terminal: Open) -> None:
    work = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    clean = shell("clean", "echo cleaning; exec sleep 1000", depends_on=["work"], when="always")
    runner.write(group([shell("work", work), clean]))
    terminal = at_terminal("submit", "group.yaml", "--follow")
    terminal.until("ready")
    terminal.type("\x03")
    terminal.until("cleaning")
    terminal.until("once more ends clean-up too")
    assert "stopping, the group was cancelled" in terminal.text
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "aborted (the group was cancelled)" in terminal.text
    terminal.assert_whole()


def test_a_node_that_dies_is_told_of_above_and_followed_to_the_end(
    runner: Command, node: Node, at_terminal: Open
) -> None:
    runner.write(group([shell("work", f"echo ready; {gate(runner, 'gate')}; echo over")]))
    terminal = at_terminal("submit", "group.yaml", "--follow")
    terminal.until("ready")
    node.end()
    terminal.until("runner: unix:")
    node.start()
    open_gate(runner, "gate")
    assert terminal.end() == 0
    assert terminal.text.count("▸ work") == 0
    assert [plainly(line) for line in terminal.display if "work" in line] == ["✓ work  success  TIME  over"]
    terminal.assert_whole()


def test_a_live_view_that_cannot_be_is_refused_before_anything_is_submitted(runner: Command, node: Node) -> None:
    document = runner.write(group([shell("t", "true")]))
    to = {"RUNNER_TO": node.socket}
    done = runner("submit", document, "--follow", "--progress", "live", environment=to)
    assert (done.status, "needs a terminal" in done.stderr) == (2, True)
    assert runner("ls", environment=to).stdout.count("\n") <= 1
