"""`--pause-on-failure`, as its users meet it: at a terminal, from beside, on this machine and on a node that is killed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

from tests.acceptance.command import RUNNER, Command, Done, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.screens import Open

Ask = Callable[..., Done]

COMMANDS = """\
  runner logs{place} one build             all that it printed
  runner shell{place} one build            a terminal where it ran
  runner signal{place} one build retry     tries it once more
  runner signal{place} one build continue  lets its failure stand
  runner cancel{place} one                 ends the group
"""


@pytest.fixture
def document(runner: Command) -> str:
    """Of a task that fails unless the file `ok` is there, in the folder where the test works."""
    build = shell("build", f"echo building; echo x >> {runner.folder}/tries; test -e {runner.folder}/ok || exit 7")
    build["timeout"] = 30
    return runner.write(
        group(
            [
                build,
                shell("test", "echo tested", depends_on=["build"]),
                shell("clean", "echo cleaned", depends_on=["build"], when="always"),
            ],
            name="ship",
        )
    )


def waits(ask: Ask, id: str = "one") -> None:
    """Until the group stands still."""
    while ask("get", id, "--output", "json").json.get("paused_by") != "build":
        pass


def test_a_run_is_told_from_beside_what_follows(runner: Command, document: str) -> None:
    command = ("run", document, "--id", "one", "--pause-on-failure", "--isolated")
    with open(runner.folder / "said", "wb") as said:
        run = runner.start(*command, stdin=DEVNULL, stdout=said, stderr=said)
        while not runner("ls").stdout:
            pass
        waits(runner)
        assert "running (stands still: build has failed)" in runner("ls").stdout
        assert "running (stands still: build has failed)" in runner("get", "one").stdout
        explained = runner("explain", "one").stdout
        assert "and stands still because build has failed: what runs goes on, nothing else begins" in explained
        assert (
            "what follows: runner signal one build retry, or runner signal one build continue; runner cancel one"
            in explained
        )
        waiting = {name: it["waiting"] for name, it in runner("get", "one", "--output", "json").json["results"].items()}
        assert waiting == {"build": "decision", "test": "dependency", "clean": "dependency"}
        other = runner("signal", "one", "test", "retry")
        assert (other.status, other.stdout) == (1, "test has no failure that waits for a decision\n")
        run.kill()
        run.wait()
        gone = runner("signal", "one", "build", "retry")
        assert gone.status == 2
        assert (
            "nothing carries the run one out: `runner run --id one` with the same file takes it up again" in gone.stderr
        )
        run = runner.start(*command, stdin=DEVNULL, stdout=said, stderr=said)
        while runner("signal", "one", "build", "retry").status == 2:
            pass
        while len((runner.folder / "tries").read_text().split()) < 2:
            pass
        waits(runner)
        (runner.folder / "ok").touch()
        retried = runner("signal", "one", "build", "retry")
        assert (retried.status, retried.stdout) == (0, "build is tried once more\n")
        assert run.wait(30) == 0
    text = (runner.folder / "said").read_text()
    assert "build -- failed after" in text
    assert "exit code 7; the group stands still\n" in text
    assert COMMANDS.format(place="") in text
    assert "type r" not in text
    assert "build -- started, attempt 3\n" in text


def test_keys_at_a_terminal(runner: Command, document: str, at_terminal: Open) -> None:
    terminal = at_terminal("run", document, "--id", "one", "--pause-on-failure")
    terminal.until("stands still: build has failed")
    terminal.until("type r to try it once more, c to let its failure stand, or a to end the group, and Enter; or")
    terminal.type("x\n")
    terminal.until("build: type r")
    terminal.type("cancel\n")
    terminal.until(lambda seen: seen.all_text.count("build: type r") == 2)
    terminal.type("Retry\n")
    terminal.until(lambda seen: len((runner.folder / "tries").read_text().split()) == 2)
    terminal.until(lambda seen: seen.all_text.count("and the group stands still") == 2)
    terminal.type("c\n")
    assert terminal.end() == 1
    assert "ship: failed after" in terminal.text
    assert runner("watch", "one").stdout.count("build  | building\n") == 2  # once for each attempt
    assert terminal.all_text.count("✗ build") == 1  # of all frames the last one is left
    assert "test   skipped because build did not succeed" in terminal.text
    terminal.assert_whole()


def test_a_at_a_terminal_and_the_first_interrupt_end_it_with_clean_up(
    runner: Command, document: str, at_terminal: Open
) -> None:
    for id, typed in (("one", "a\n"), ("two", "\x03")):
        terminal = at_terminal("run", document, "--id", id, "--pause-on-failure", "--progress", "plain")
        terminal.until("and Enter; or")
        terminal.type(typed)
        assert terminal.end() == (1 if id == "one" else 130)
        result = runner("get", id, "--output", "json").json
        assert (result["status"], result["reason"]) == ("aborted", "cancelled")
        statuses = {name: it["status"] for name, it in result["results"].items()}
        assert statuses == {"build": "failed", "test": "skipped", "clean": "success"}


def test_a_job_is_listened_to_once_it_is_brought_to_the_front(
    runner: Command, document: str, at_terminal: Open
) -> None:
    terminal = at_terminal(command=("bash", "--norc", "-i"))
    run = shlex.join([*RUNNER, "run", document, "--id", "one", "--pause-on-failure", "--progress", "plain"])
    terminal.type(f"{run} &\n")
    terminal.until("ends the group")
    assert "type r" not in terminal.all_text
    terminal.type("fg\n")
    terminal.until("build: type r to try it once more")
    terminal.type("c\n")
    terminal.until("runner explain one")
    terminal.type("exit $?\n")
    assert terminal.end() == 1


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node" / "state")
    (tmp_path / "node").mkdir()
    node.start()
    yield node
    node.remove()


def test_a_node_that_is_killed_stands_still_in_its_next_life(
    runner: Command, node: Node, document: str, at_terminal: Open
) -> None:
    def ask(*arguments: str) -> Done:
        return runner(*arguments, environment={"RUNNER_TO": node.socket})

    submit = ("submit", document, "--id", "one", "--follow", "--pause-on-failure")
    terminal = at_terminal(*submit, environment={"RUNNER_TO": node.socket})
    terminal.until("and Enter; or")
    node.end()
    node.start()
    assert ask("get", "one", "--output", "json").json["paused_by"] == "build"
    assert "running (stands still: build has failed)" in ask("ls").stdout
    (runner.folder / "ok").touch()
    terminal.type("r\n")
    assert terminal.end() == 0
    result = ask("get", "one", "--output", "json").json
    assert {name: (it["status"], it["attempts"]) for name, it in result["results"].items()} == {
        "build": ("success", 2),
        "test": ("success", 1),
        "clean": ("success", 1),
    }
    again = ask("signal", "one", "build", "continue")
    assert (again.status, again.stdout) == (1, "build has no failure that waits for a decision\n")


def test_who_looks_on_is_told_what_to_do_and_the_workspace_is_there(runner: Command, node: Node, document: str) -> None:
    def ask(*arguments: str) -> Done:
        return runner(*arguments, environment={"RUNNER_TO": node.socket})

    assert ask("submit", document, "--id", "one", "--pause-on-failure").status == 0
    waits(ask)
    with open(runner.folder / "seen", "wb") as seen:
        watch = runner.start("watch", "one", environment={"RUNNER_TO": node.socket}, stdout=seen, stderr=seen)
        while "ends the group" not in (runner.folder / "seen").read_text():
            pass
        assert COMMANDS.format(place="") in (runner.folder / "seen").read_text()
        ask("signal", "one", "build", "continue")
        assert watch.wait(30) == 1


def test_a_group_that_is_forwarded_as_a_whole_is_refused(runner: Command, node: Node) -> None:
    name = runner.write(group([shell("t", "true")], forward={"labels": {"no": "where"}}), "far.yaml")
    refused = runner("submit", name, "--pause-on-failure", environment={"RUNNER_TO": node.socket})
    assert refused.status == 2
    assert "a group that another runner carries out as a whole does not pause on failure" in refused.stderr
