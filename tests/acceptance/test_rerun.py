"""`runner rerun`: of what `runner run` did, and of a node's groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.client.blocking import Client
from runner.errors import ForbiddenError, GroupNotFoundError
from runner.model.endpoint import Endpoint
from tests.acceptance.command import Command, Done, group, shell
from tests.acceptance.mortal import Node

SECRET = "hunter22-hunter22"
Ask = Callable[..., Done]


def document(folder: Path) -> str:
    """`build` fails until there is a file `ok`."""
    token = [{"name": "token", "confidential": True, "scope": "global"}]
    build = shell("build", f"echo build >> {folder}/ran; echo got $TOKEN; test -e {folder}/ok", depends_on=["lint"])
    build["imports"] = [{"from": "fetch", "variable": "token"}]
    build["spec"]["envs"] = {"TOKEN": "{{ .fetch.token }}"}
    fetch = shell("fetch", f"echo fetch >> {folder}/ran; echo token=$PASSWORD-derived >> $OUTPUT_FILE", exports=token)
    fetch["spec"]["envs"] = {"PASSWORD": "{{ .inputs.password }}"}
    tasks = [
        fetch,
        shell("lint", f"echo lint >> {folder}/ran; exit 4", allow_failure=True),
        build,
        shell("ship", f"echo ship >> {folder}/ran", depends_on=["build"]),
    ]
    return group(tasks, name="deploy", inputs={"password": {"confidential": True, "required": True}})


def ran(folder: Path) -> list[str]:
    """What has run since this was asked last."""
    lines = sorted((folder / "ran").read_text().split())
    (folder / "ran").write_text("")
    return lines


def assert_done_again(ask: Ask, folder: Path, follow: list[str]) -> None:
    """The first of it has failed and is called `one`."""
    assert ran(folder) == ["build", "fetch", "lint"]
    assert ask("rerun", "one", "--id", "two", *follow).status == 1
    assert ran(folder) == ["build"]
    (folder / "ok").touch()
    again = ask("rerun", "two", "--id", "three", *follow, "--output", "json")
    assert again.status == 0, again
    assert ran(folder) == ["build", "ship"]
    results = again.json["results"]
    assert {name: (task["status"], task["cached"]) for name, task in results.items()} == {
        "fetch": ("success", True),
        "lint": ("failed", False),
        "build": ("success", False),
        "ship": ("success", False),
    }
    assert results["fetch"]["outputs"] == {"token": "***"}
    assert ask("logs", "three", "build").stdout == "got ***\n"
    shown = ask("get", "three", "--reveal", "--output", "json").json
    assert shown["results"]["fetch"]["outputs"] == {"token": f"{SECRET}-derived"}
    why = ask("explain", "three", "fetch").stdout
    assert why.startswith("fetch was not run: its outputs are those of the group two, where it succeeded after ")
    nothing = ask("rerun", "three", *follow)
    assert nothing.status == 2
    assert "all of the group three was successful: name a task to begin at with --from" in nothing.stderr
    assert ask("rerun", "three", "--from", "ship", "--id", "four", *follow).status == 0
    assert ran(folder) == ["ship"]
    wrong = ask("rerun", "one", "--from", "ship", *follow)
    assert "the task 'ship' depends on 'build', which did not succeed: begin there" in wrong.stderr
    assert ask("rerun", "one", "--from", "shp", *follow).status == 2
    assert ask("rerun", "none", *follow).status == 2
    assert ask("get", "one", "--output", "json").json["results"]["ship"]["status"] == "skipped"


def test_what_was_run_here(runner: Command, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET)
    name = runner.write(document(tmp_path))
    assert runner("run", name, "--set-secret", f"password=@{tmp_path}/password", "--id", "one").status == 1
    assert_done_again(runner, tmp_path, [])
    elsewhere = runner("rerun", "one", "--workspace", str(tmp_path))
    assert (elsewhere.status, "--workspace sends a folder to a node" in elsewhere.stderr) == (2, True)
    again = runner("rerun", "one", "--id", "two")
    assert again.status == 1, "it is the same again, and is over"
    assert (
        again.stderr
        == "runner: two was over before (failed): this is what it did then, and nothing runs anew; `runner rerun two` does it again, another --id too\n"
    )
    assert ran(tmp_path) == []


def test_one_that_was_killed_is_taken_up_and_not_done_again(runner: Command, tmp_path: Path) -> None:
    process = runner.start("run", runner.write(group([shell("t", f"touch {tmp_path}/up; sleep 1000")])), "--id", "one")
    while not (tmp_path / "up").exists():
        pass
    process.kill()
    process.wait()
    done = runner("rerun", "one")
    assert (done.status, "`runner run --id one` with the same file takes it up again" in done.stderr) == (2, True)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node" / "state", "127.0.0.1:0")
    node._state.parent.mkdir()
    node.start()
    yield node
    node.remove()


def test_on_a_node(runner: Command, node: Node, tmp_path: Path) -> None:
    def ask(*arguments: str) -> Done:
        return runner(*arguments, environment={"RUNNER_TO": node.socket})

    (tmp_path / "password").write_text(SECRET)
    name = runner.write(document(tmp_path))
    secret = ["--set-secret", f"password=@{tmp_path}/password"]
    assert ask("submit", name, *secret, "--id", "one", "--follow").status == 1
    assert_done_again(ask, tmp_path, ["--follow"])
    told = ask("rerun", "one", "--id", "five", "--output", "json").json
    assert told == {"id": "five", "existed": False, "tasks": 2, "kept": 2}
    repeated = ask("rerun", "one", "--id", "five", "--output", "json")
    assert repeated.json == {**told, "existed": True}
    assert (
        repeated.stderr
        == "runner: five was submitted before: it is the same group, and nothing of it begins anew; another --id makes another one\n"
    )
    node.end()
    for path in (tmp_path / "node").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_its_workspace_is_the_one_that_is_sent_along(runner: Command, node: Node, tmp_path: Path) -> None:
    def ask(*arguments: str) -> Done:
        return runner(*arguments, environment={"RUNNER_TO": node.socket})

    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "here").write_text("it is\n")
    name = runner.write(group([shell("t", "cat here")]))
    assert ask("submit", name, "--id", "one", "--follow").status == 1
    assert ask("rerun", "one", "--id", "two", "--follow").status == 1
    done = ask("rerun", "one", "--id", "three", "--follow", "--workspace", str(tmp_path / "files"))
    assert done.status == 0
    assert "t  | it is\n" in done.stdout


def test_nobody_does_the_group_of_another_again(runner: Command, node: Node) -> None:
    """An administrator sees it; what he did again would be his, and its secrets with it."""
    with Client(Endpoint(target=node.socket, token=node.token("ada"))) as ada:
        ada.submit(group([shell("t", "exit 1")]), id="one")
        while not ada.result("one").status.terminal:
            pass
    with Client(Endpoint(target=node.socket, token=node.token("bob"))) as bob, pytest.raises(GroupNotFoundError):
        bob.rerun("one")
    with Client(Endpoint(target=node.socket)) as admin:  # whose node it is
        [summary] = list(admin.list())
        with pytest.raises(ForbiddenError, match="by whoever submitted it"):
            admin.rerun(summary.id)


def test_a_document_that_has_changed_since_is_not_what_is_done_again(runner: Command, tmp_path: Path) -> None:
    name = runner.write(group([shell("t", "exit 3")]), "my group.yaml")
    assert runner("run", name, "--id", "one").status == 1
    assert runner("rerun", "one", "--id", "two").stderr == ""
    runner.write(group([shell("t", "true")]), name)
    said = "runner: my group.yaml has changed since {}, whose document is done again as it was; `runner run 'my group.yaml'` runs what it says now, with the inputs that you give it\n"
    again = runner("rerun", "one", "--id", "three")
    assert (again.status, again.stderr) == (1, said.format("one"))
    assert runner("rerun", "three", "--id", "four").stderr == said.format("three"), "it is known of that one as well"
    (runner.folder / name).unlink()
    os.mkfifo(runner.folder / name)
    assert runner("rerun", "one", "--id", "five").stderr == ""


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_of_a_document_that_came_by_standard_input_nothing_is_said(runner: Command, name: str) -> None:
    assert runner("run", name, "--id", "one", stdin=group([shell("t", "exit 3")]).encode()).status == 1
    again = runner("rerun", "one")
    assert (again.status, again.stderr) == (1, "")
