"""`matrix` of a task, as its users meet it: real commands, on this machine and through a node that forwards."""

from __future__ import annotations

import json
import shlex
from subprocess import DEVNULL
from typing import Any

import pytest

from runner.model.result import Status, TaskGroupResult
from tests.acceptance.command import Command, group, shell
from tests.acceptance.test_forward import ONPREM, Pair, pair

__all__ = ["pair"]

PATH = [{"name": "path", "scope": "global"}]
GATHER = shell("gather", 'echo "$PATHS"', imports=[{"from": "test", "variable": "path"}])
GATHER["spec"]["envs"] = {"PATHS": "{{ .test.path }}"}


def matrixed(matrix: dict[str, Any], script: str = "", **more: Any) -> dict[str, Any]:
    """A task `test` that says its values, and exports them as `path`."""
    said = "-".join(f"{{{{ .matrix.{name} }}}}" for name in matrix if name in ("os", "py"))
    task = shell(
        "test", f'echo "ran $SAID"\n{script}\necho "path=$SAID" >> "$OUTPUT_FILE"', matrix=matrix, exports=PATH, **more
    )
    task["spec"]["envs"] = {"SAID": said}
    return task


def statuses(result: Any) -> dict[str, str]:
    return {name: task["status"] for name, task in result["results"].items()}


def test_it_is_run_looked_at_and_done_again(runner: Command) -> None:
    matrix = {
        "os": ["a", "b"],
        "py": ["3.11", "3.12"],
        "include": [{"os": "c", "py": "3.13", "extra": "x"}],
        "exclude": [{"os": "b", "py": "3.11"}],
        "max_parallel": 2,
    }
    script = 'test "$SAID" != a-3.12 -o -e ok'
    runner.write(group([matrixed(matrix, script), GATHER]))
    assert runner("validate", "group.yaml").stdout == "group.yaml: valid, 6 tasks\n"
    done = runner("run", "group.yaml", "--id", "one", "--output", "json")
    assert done.status == 1
    assert statuses(done.json) == {
        "test[a,3.11]": "success",
        "test[a,3.12]": "failed",
        "test[b,3.12]": "success",
        "test[c,3.13,x]": "success",
        "test": "skipped",
        "gather": "skipped",
    }
    assert done.json["results"]["test[a,3.12]"]["matrix"] == {"os": "a", "py": "3.12", "extra": ""}
    assert "matrix" not in done.json["results"]["test"]
    assert runner("logs", "one", "test[b,3.12]").stdout == "ran b-3.12\n"
    assert runner("explain", "one", "gather").stdout.startswith(
        "gather was skipped: test, which it depends on, was skipped\n"
        "  test was skipped: test[a,3.12], which it depends on, did not succeed\n"
        "    test[a,3.12] failed after "
    )
    (runner.folder / "ok").touch()
    again = runner("rerun", "one", "--id", "two", "--output", "json")
    assert [name for name, task in again.json["results"].items() if not task["cached"]] == [
        "test[a,3.12]",
        "test",
        "gather",
    ]
    paths = ["a-3.11", "a-3.12", "b-3.12", "c-3.13"]
    assert json.loads(again.json["results"]["test"]["outputs"]["path"]) == paths
    assert json.loads(runner("logs", "two", "gather").stdout) == paths
    graph = runner("graph", "group.yaml", "--output", "json").json
    assert [(task["name"], task["type"]) for task in graph["tasks"]][-2:] == [("test", "matrix"), ("gather", "os_exec")]


def test_parts_of_it_are_run(runner: Command) -> None:
    runner.write(group([matrixed({"os": ["a", "b"], "py": ["1"]}), GATHER]))
    one = runner("run", "group.yaml", "--task", "test[b,1]", "--output", "json")
    assert statuses(one.json) == {"test[b,1]": "success"}
    whole = runner("run", "group.yaml", "--task", "test", "--output", "json")
    assert list(statuses(whole.json)) == ["test[a,1]", "test[b,1]", "test"]
    followed = runner("run", "group.yaml", "--from", "test", "--output", "json")
    assert list(statuses(followed.json)) == ["test[a,1]", "test[b,1]", "test", "gather"]
    wrong = runner("run", "group.yaml", "--from", "test[a,1]")
    assert wrong.status == 2
    assert (
        "the task 'test' gathers what all of its instances export, of which some are left out: begin at 'test'"
        in wrong.stderr
    )


HOSTILE = [
    "../../../etc",
    "a/b",
    "$(touch pwned)",
    "two words",
    "",
    "line\nfeed",
    "\x1b[2J",
    "]",
    ",",
    "-rf",
    "é" * 100,
]


def test_what_it_says_to_type_can_be_typed(runner: Command) -> None:
    runner.write(group([matrixed({"os": ["a", "b"]}, 'test "$SAID" = a')]))
    done = runner("run", "group.yaml", "--id", "one")
    [line] = [line for line in done.stdout.splitlines() if "all that it printed" in line]
    words = shlex.split(line.partition("  all ")[0])
    assert words == ["runner", "logs", "one", "test[b]"]
    assert runner(*words[1:]).stdout == "ran b\n"


def test_values_of_every_kind_are_what_they_are(runner: Command) -> None:
    task = shell("test", 'printf "%s" "$SAID"; printf "path<<END\\n%s\\nEND\\n" "$SAID" >> "${OUTPUT_FILE}_test"')
    task |= {"matrix": {"os": HOSTILE}, "exports": PATH}
    task["spec"]["envs"] = {"SAID": "{{ .matrix.os }}"}
    runner.write(group([task]))
    done = runner("run", "group.yaml", "--id", "one", "--output", "json")
    assert done.status == 0, done.stderr
    assert json.loads(done.json["results"]["test"]["outputs"]["path"]) == HOSTILE
    names = [name for name in done.json["results"] if name != "test"]
    assert len(names) == len(HOSTILE)
    for name, value in zip(names, HOSTILE, strict=True):
        assert name.isprintable()
        assert name.isascii()
        assert runner("logs", "one", name).stdout == value
    assert not (runner.folder / "pwned").exists()


def test_what_was_under_way_when_it_was_killed_goes_on(runner: Command) -> None:
    """Never more than one at a time, and none twice that had ended."""
    script = (
        'echo "begin $SAID" >> ran; while test "$SAID" = b -a ! -e go; do sleep 0.02; done; echo "end $SAID" >> ran'
    )
    retry = {"attempts": 2, "on": ["supervisor_lost"]}
    runner.write(group([matrixed({"os": ["a", "b", "c"], "max_parallel": 1}, script, retry=retry), GATHER]))
    run = runner.start("run", "group.yaml", "--id", "one", stdout=DEVNULL, stderr=DEVNULL)
    ran = runner.folder / "ran"
    while not ran.exists() or "begin b" not in ran.read_text():
        pass
    why = runner("explain", "one", "test[c]").stdout
    assert why.startswith("test[c] waits for its turn among the instances of test, of which 1 at most may be under way")
    assert runner("get", "one", "--output", "json").json["results"]["test[c]"]["waiting"] == "matrix"
    run.kill()
    run.wait()
    (runner.folder / "go").touch()
    done = runner("run", "group.yaml", "--id", "one", "--output", "json")
    assert done.status == 0, done.stderr
    assert json.loads(done.json["results"]["test"]["outputs"]["path"]) == ["a", "b", "c"]
    assert ran.read_text().split("\n")[:3] == ["begin a", "end a", "begin b"]
    assert ran.read_text().split("\n")[-3:] == ["begin c", "end c", ""]


def test_the_first_that_fails_ends_the_others(runner: Command) -> None:
    script = (
        'test "$SAID" = b && { until test -e a -a -e c; do sleep 0.02; done; exit 3; }; touch "$SAID"; exec sleep 300'
    )
    matrix = {"os": ["a", "b", "c", "d"], "max_parallel": 3, "failFast": True}
    other = shell("other", "echo other", depends_on=["own"])
    runner.write(group([matrixed(matrix, script), GATHER, shell("own", "true"), other]))
    done = runner("run", "group.yaml", "--output", "json")
    assert done.status == 1
    results = done.json["results"]
    assert {name: (it["status"], it["reason"], it["because_of"]) for name, it in results.items()} == {
        "test[a]": ("aborted", "fail_fast", "test[b]"),
        "test[b]": ("failed", None, None),
        "test[c]": ("aborted", "fail_fast", "test[b]"),
        "test[d]": ("skipped", "fail_fast", "test[b]"),
        "test": ("skipped", "dependency_failed", "test[b]"),
        "gather": ("skipped", "dependency_skipped", "test"),
        "own": ("success", None, None),
        "other": ("success", None, None),
    }
    assert done.json["status"] == "failed"


def test_secrets_of_its_instances_are_masked_one_by_one_where_they_come_together(runner: Command) -> None:
    script = 'echo "key=hush-$SAID-hush" >> "$OUTPUT_FILE"'
    task = shell(
        "test", script, matrix={"os": ["a", "b"]}, exports=[{"name": "key", "confidential": True, "scope": "global"}]
    )
    task["spec"]["envs"] = {"SAID": "{{ .matrix.os }}"}
    gather = shell("gather", 'echo "$KEYS" | tr , "\\n"; echo "$FIRST"', imports=[{"from": "test", "variable": "key"}])
    gather["spec"]["envs"] = {"KEYS": "{{ .test.key }}", "FIRST": "{{ .test.key | fromjson | first }}"}
    runner.write(group([task, gather]))
    done = runner("run", "group.yaml", "--id", "one", "--output", "json")
    assert done.json["results"]["test"]["outputs"] == {"key": "***"}
    assert runner("logs", "one", "gather").stdout == '["***"\n"***"]\n***\n'
    shown = runner("get", "one", "--reveal", "--output", "json").json["results"]["test"]["outputs"]["key"]
    assert shown == '["hush-a-hush","hush-b-hush"]'


def told(result: TaskGroupResult) -> dict[str, tuple[Any, ...]]:
    return {
        name: (task.status, task.reason, task.because_of, task.attempts, dict(task.outputs), task.matrix)
        for name, task in result.results.items()
    }


@pytest.mark.parametrize("fails", [False, True])
def test_another_runner_carries_all_of_it_out(pair: Pair, fails: bool) -> None:
    script = 'test "$SAID" != b' if fails else ""
    matrix = {"os": ["a", "b", "c"], "max_parallel": 1, "failFast": True}
    there = pair.finished(pair.submit(matrixed(matrix, script), GATHER, forward=ONPREM, id="there"))
    here = pair.finished(pair.submit(matrixed(matrix, script), GATHER, id="here"))
    assert (there.status, told(there)) == (here.status, told(here))
    assert there.status is (Status.FAILED if fails else Status.SUCCESS)
    assert {task.runner for task in there.results.values() if task.attempts} == {"onprem"}


def test_each_instance_says_where_it_runs(pair: Pair) -> None:
    task = matrixed(
        {"os": ["onprem", "onpre"], "max_parallel": 1}, forward={"to": "{{ .matrix.os }}"}, allow_failure=True
    )
    id = pair.submit(task, GATHER)
    results = pair.finished(id).results
    assert results["test[onprem]"].runner == "onprem"
    assert (results["test[onpre]"].status, results["test[onpre]"].reason) == (Status.ERRORED, "no_such_runner")
    assert results["test"].outputs["path"].text == '["onprem",null]'
    assert pair.log(id, "test[onprem]") == b"ran onprem\n"
