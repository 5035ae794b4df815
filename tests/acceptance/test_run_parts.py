"""`runner run` of a part of a group, with inputs and variables out of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell

URL = [{"name": "url", "scope": "global"}]
TASKS = [
    shell("fetch", "echo fetched"),
    shell("build", "echo built; echo url=x >> $OUTPUT_FILE", depends_on=["fetch"], exports=URL),
    shell("lint", "echo linted"),
    shell("test", "echo tested", depends_on=["build", "lint"]),
    shell("ship", "echo shipped {{ .build.url }}", depends_on=["test"], imports=[{"from": "build", "variable": "url"}]),
]


def ran(runner: Command, *options: str) -> list[str]:
    done = runner("run", runner.write(group(TASKS)), "--output", "json", *options)
    assert done.status == 0, done
    return list(done.json["results"])


def test_a_task_and_what_it_needs(runner: Command) -> None:
    assert ran(runner, "--task", "build") == ["fetch", "build"]
    assert ran(runner, "--task", "lint", "--task", "fetch") == ["fetch", "lint"]
    assert ran(runner, "--task", "ship") == [task["name"] for task in TASKS]


def test_a_task_and_what_follows(runner: Command) -> None:
    assert ran(runner, "--from", "build") == ["build", "test", "ship"]
    assert ran(runner, "--from", "fetch", "--from", "lint") == [task["name"] for task in TASKS]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "shp"], "the group has no task 'shp' (did you mean 'ship'?)"),
        (["--from", "bild"], "the group has no task 'bild' (did you mean 'build'?)"),
        (["--from", "test"], "the task 'ship' imports 'url' of 'build', which is left out: begin at 'build'"),
        (["--task", "a", "--from", "b"], "--task and --from choose two parts"),
        (["--timeout", "soon"], "'soon': expected a duration such as 90, 1.5s, 2m30s or 1h"),
        (["--timeout", "0"], "must be more than nothing"),
        (["--env-file", "no-such"], "--env-file: no-such cannot be read: No such file or directory"),
        (["--keep-workspace"], "--keep-workspace is for --isolated"),
        (["--input-file", "no-such"], "--input-file: no-such cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_run(runner: Command, options: list[str], words: str) -> None:
    done = runner("run", runner.write(group(TASKS)), *options)
    assert (done.status, done.stdout) == (2, "")
    assert words in done.stderr
    assert runner("ls").stdout.count("\n") <= 1


def test_variables_out_of_files_stand_as_they_are(runner: Command) -> None:
    Path(runner.home, "one.env").write_text("# ours\nA=1\nexport B='two words'\nC=\"line\\nbreak\"\nD={{ .x }}\n\n")
    Path(runner.home, "two.env").write_text("A=later\n")
    task = shell("t", 'printf "%s|" "$A" "$B" "$C" "$D" "$E" "$F"')
    task["spec"]["envs"] = {"F": "of the task"}
    document = runner.write(group([task], env={"A": "of the document", "E": "too", "F": "x"}))
    options = ["--env-file", f"{runner.home}/one.env", "--env-file", f"{runner.home}/two.env"]
    done = runner("run", document, "--id", "one", *options)
    assert done.status == 0, done
    assert runner("logs", "one", "t").stdout == "later|two words|line\nbreak|{{ .x }}|too|of the task|"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1\nB\n", ", line 2: expected NAME=value"),
        ("A='1\n", ", line 1: expected NAME=value"),
        ("A=1\nB=x\0y\n", ", line 2: a NUL character is not allowed in a text"),
    ],
)
def test_a_file_of_variables_that_cannot_be_read(runner: Command, text: str, words: str) -> None:
    path = Path(runner.home, "one.env")
    path.write_text(text)
    done = runner("run", runner.write(group([shell("t", "true")])), "--env-file", str(path))
    assert (done.status, done.stdout) == (2, "")
    assert f"--env-file {path}{words}" in done.stderr


def test_a_file_of_variables_from_another_system(runner: Command) -> None:
    path = Path(runner.home, "one.env")
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB='2' # two\r\n")
    task = shell("t", 'printf "%s|" "$A" "$B"')
    assert runner("run", runner.write(group([task])), "--id", "one", "--env-file", str(path)).status == 0
    assert runner("logs", "one", "t").stdout == "1|2|"


def test_inputs_out_of_files(runner: Command) -> None:
    Path(runner.home, "one.yaml").write_text("a: 0755\nb: yes\nsecret: hunter22-hunter22\n")
    Path(runner.home, "two.json").write_text(json.dumps({"b": "later", "c": "3"}))
    inputs = {"a": {}, "b": {}, "c": {}, "secret": {"confidential": True}}
    task = shell("t", "echo {{ .inputs.a }} {{ .inputs.b }} {{ .inputs.c }} {{ .inputs.secret }}")
    options = ["--input-file", f"{runner.home}/one.yaml", "--input-file", f"{runner.home}/two.json", "--set", "c=mine"]
    done = runner("run", runner.write(group([task], inputs=inputs)), "--id", "one", *options)
    assert done.status == 0, done
    assert runner("logs", "one", "t").stdout == "0755 later mine ***\n"
    Path(runner.home, "two.json").write_text('{"a": ["x"]}')
    refused = runner("run", runner.write(group([task], inputs=inputs)), *options)
    assert (refused.status, f"{runner.home}/two.json:1:7: a: expected text, found a list" in refused.stderr) == (
        2,
        True,
    )


def test_labels_and_a_timeout(runner: Command) -> None:
    document = runner.write(group([shell("t", "sleep 1000")], labels={"team": "web", "tier": "1"}))
    done = runner("run", document, "--label", "tier=2", "--label", "new", "--timeout", "0.2", "--output", "json")
    assert (done.status, done.json["status"], done.json["reason"]) == (1, "aborted", "group_timeout")
    assert done.json["labels"] == {"team": "web", "tier": "2", "new": ""}


def test_quiet_shows_the_result_alone(runner: Command) -> None:
    done = runner("run", runner.write(group([shell("t", "echo loud")], name="g")), "--quiet")
    assert done.stdout.startswith("g: success after")
    assert done.stdout.count("\n") == 1


def test_a_workspace_is_kept_where_that_is_wanted(runner: Command) -> None:
    document = runner.write(group([shell("t", "echo made > made")]))
    done = runner("run", document, "--isolated", "--keep-workspace")
    kept = Path(done.stderr.split("the workspace is kept: ")[1].strip())
    assert (kept / "made").read_text() == "made\n"
    runner("run", document, "--isolated", "--id", "gone")
    assert not (kept.parent.parent / "gone" / "workspace").exists()
