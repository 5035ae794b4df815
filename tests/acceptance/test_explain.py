"""`runner explain`: of what `runner run` did, of a node that works, and of a peer that is away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pytest

from runner.model.explanation import Cause
from runner.model.result import Status
from tests.acceptance.command import Command, Done, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair, pair

__all__ = ["pair"]

TASKS = [
    shell("lint", "exit 4", allow_failure=True),
    shell("build", "echo building; exit 3", depends_on=["lint"], retry={"attempts": 2, "delay": 0}),
    shell("test", "true", depends_on=["build"]),
    shell("ship", "true", depends_on=["test"]),
    shell("notify", "true", depends_on=["ship"], when="failure"),
    {**shell("other", "true"), "if": "{{ .inputs.tag == 'x' }}"},
]
DOCUMENT = group(TASKS, name="deploy", inputs={"tag": {"default": "y"}})


def told(done: Done) -> list[str]:
    assert done.status == 0, done
    return [re.sub(r"\d[\d.]* (ms|s)\b", "TIME", line) for line in done.stdout.splitlines()]


BUILD = [
    "build failed after TIME in 2 attempts: exit code 3",
    "  attempt 1 failed after TIME: exit code 3",
    "  it was not tried again: all 2 attempts have been made",
]
LOG = "what it printed: runner logs one build"


def test_a_chain_of_causes_leads_to_what_failed(runner: Command) -> None:
    assert runner("run", runner.write(DOCUMENT), "--id", "one").status == 1
    assert told(runner("explain", "one", "ship")) == [
        "ship was skipped: test, which it depends on, was skipped",
        "  test was skipped: build, which it depends on, did not succeed",
        *(f"    {line}" for line in BUILD),
        LOG,
    ]
    assert told(runner("explain", "one", "notify"))[:2] == [
        "notify succeeded after TIME",
        "  it runs when something before it fails (`when: failure`), and build did",
    ]
    assert told(runner("explain", "one", "other")) == ["other was skipped: its `if` is false: {{ .inputs.tag == 'x' }}"]
    assert told(runner("explain", "@last")) == [
        "the group deploy failed after TIME",
        "  lint failed after TIME: exit code 4",
        "    `allow_failure` is set: what depends on it goes on, and the group may succeed all the same",
        *(f"  {line}" for line in BUILD),
        "  3 tasks were skipped: test, ship and other",
        LOG,
    ]
    unknown = runner("explain", "one", "shp")
    assert (unknown.status, "no task 'shp'" in unknown.stderr, "ship" in unknown.stderr) == (2, True, True)


def test_for_programs(runner: Command) -> None:
    runner("run", runner.write(DOCUMENT), "--id", "one")
    plain = runner("explain", "one", "test", "--output", "json").json
    assert (plain["id"], plain["name"], plain["kind"], plain["task"]) == ("one", "deploy", "dependency_failed", "test")
    [build] = plain["because"]
    assert (build["kind"], build["task"], build["attempt"]) == ("failed", "build", 2)
    assert [each["kind"] for each in build["because"]] == ["attempt", "not_repeated"]
    assert build["at"].endswith("Z")


def test_a_run_that_was_killed_is_not_said_to_run(runner: Command) -> None:
    tasks = [shell("waits", "echo up; while :; do sleep 0.05; done"), shell("after", "true", depends_on=["waits"])]
    tasks.append(shell("again", "exit 1", retry={"attempts": 2, "delay": "1h"}))
    run = runner.start("run", runner.write(group(tasks, name="g")), "--id", "one", stdout=DEVNULL)
    while "up" not in runner("logs", "one", "waits").stdout or "attempt 2" not in runner("explain", "one").stdout:
        pass
    run.kill()
    run.wait()
    lost = (
        "nothing carries it out any more: its runner is gone, and what it ran has been ended with it; "
        "started again with the same id, it is taken up"
    )
    waits = "waits had begun and not ended"
    again = ["again waits for its attempt 2 of 2", "attempt 1 failed after TIME: exit code 1"]
    assert told(runner("explain", "one", "after")) == ["after waits for waits", f"  {lost}", f"  {waits}"]
    assert told(runner("explain", "one")) == [
        "the group g had begun and not ended",
        *(f"  {line}" for line in (lost, waits, again[0])),
        f"    {again[1]}",
    ]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state", "127.0.0.1:0")
    node.start()
    yield node
    node.remove()


def test_a_node_is_asked_while_it_works(runner: Command, node: Node) -> None:
    def ask(*arguments: str) -> Done:
        return runner(*arguments, environment={"RUNNER_TO": node.socket})

    waits = shell("waits", "echo up; while :; do sleep 0.05; done")
    after = shell("after", "true", depends_on=["waits"])
    cleans = shell("cleans", "while :; do sleep 0.05; done", depends_on=["after"], when="always")
    assert ask("submit", runner.write(group([waits, after, cleans])), "--id", "one").status == 0
    while "up" not in ask("logs", "one", "waits").stdout:
        pass
    assert told(ask("explain", "one", "cleans")) == [
        "cleans waits for after",
        "  after waits for waits",
        "    waits runs for TIME",
    ]
    assert told(ask("explain", "one")) == ["the group runs for TIME", "  waits runs for TIME"]
    assert ask("cancel", "one").status == 0
    while ask("get", "one", "--output", "json").json["results"]["cleans"]["status"] != "running":
        pass
    lines = told(ask("explain", "one", "waits"))
    assert lines[0] == "waits aborted after TIME: the group was cancelled, ended by SIGTERM"
    assert re.fullmatch(r"  a caller cancelled the group at \S+Z", lines[-1])
    assert ask("cancel", "one", "--at-once").status == 0
    while ask("get", "one", "--output", "json").json["status"] != "aborted":
        pass
    lines = told(ask("explain", "one", "after"))
    assert lines[0] == "after was skipped: the group was ended before it could begin"
    assert lines[1].endswith("Z, and again, which ends clean-up as well")


def kinds(cause: Cause) -> list[str]:
    return [cause.kind, *(kind for each in cause.because for kind in kinds(each))]


@pytest.mark.parametrize("whole", [False, True])
def test_it_says_where_a_task_runs_and_since_when_that_is_away(pair: Pair, whole: bool) -> None:
    work = f"echo up; while [ ! -e {pair.folder}/go ]; do sleep 0.05; done"
    far = shell("far", work) if whole else shell("far", work, forward=ONPREM)
    id = pair.submit(far, **({"forward": ONPREM} if whole else {}))
    pair.until(lambda: pair.log(id, "far") == b"up\n")
    assert pair.result(id).results["far"].unreached_since is None
    with pair.client() as client:
        cause = client.explain(id, None if whole else "far").cause
        assert "far runs on onprem for" in str(cause)
        assert ("placed" in kinds(cause), "peer_lost" in kinds(cause)) == (True, False)
        pair.onprem.end()
        pair.until(lambda: pair.has_said("peer_lost"))
        cause = client.explain(id, "far").cause
        [lost] = [each for each in cause.because if each.kind == "peer_lost"]
        assert lost.text.startswith("onprem has not been reached for ")
        assert "what runs there goes on, and it is given up after 10 min 0 s without contact" in lost.text
        assert lost.at is not None
        since = client.result(id).results["far"].unreached_since
        assert since is not None
        told_whole = kinds(client.explain(id).cause)
        assert told_whole.count("peer_lost") == (2 if whole else 1)
        assert str(client.explain(id).cause).count("what runs there goes on") == 1
    pair.onprem.start()
    (pair.folder / "go").touch()
    result = pair.finished(id).results["far"]
    assert (result.status, result.runner, result.unreached_since) == (Status.SUCCESS, "onprem", None)


def test_of_a_group_that_is_over_nothing_is_said_to_go_on(pair: Pair) -> None:
    id = pair.submit(shell("far", "true"), forward=ONPREM)
    assert pair.finished(id).status is Status.SUCCESS
    pair.onprem.end()
    pair.until(lambda: pair.has_said("peer_lost"))
    with pair.client() as client:
        [cause] = client.explain(id).cause.because
    assert (cause.kind, cause.text) == ("placed", "all of it was carried out by onprem, which its `forward` names")
