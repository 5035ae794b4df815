"""`runner run --dry-run`: what would run is shown, and nothing is started or written."""

from __future__ import annotations

import os

from tests.acceptance.command import Command, Done, group, shell

SECRET = "correct-horse-battery"
DOCUMENT = group(
    [
        shell("build", "touch built; echo '{{ .inputs.tag }}'", exports=[{"name": "url"}]),
        shell("old", "true", **{"if": "{{ .inputs.tag == 'old' }}"}),
        {
            "name": "ship",
            "type": "os_exec",
            "imports": [{"from": "build", "variable": "url"}],
            "spec": {
                "command": ["./ship", "{{ .build.url }}"],
                "envs": {"KEY": "{{ .inputs.key }}", "K": "{{ .env.K }}"},
            },
        },
        shell("alarm", "mail", when="failure", depends_on=["ship"]),
        shell("perhaps", "true", imports=[{"from": "build", "variable": "url"}], **{"if": "{{ .build.url != '' }}"}),
    ],
    name="deploy",
    env={"K": "x"},
    inputs={"tag": {"default": "1.10"}, "key": {"required": True, "confidential": True}},
)


def dry(runner: Command, *options: str, document: str = DOCUMENT) -> Done:
    """Whatever it is asked, it leaves nothing behind."""
    name = runner.write(document)
    before = sorted(os.listdir(runner.folder))
    done = runner("run", name, "--dry-run", "--set-secret", "key=env:KEY", *options, environment={"KEY": SECRET})
    assert sorted(os.listdir(runner.folder)) == before
    assert list(runner.home.iterdir()) == []
    assert SECRET not in done.stdout + done.stderr
    return done


def test_what_would_run_in_words(runner: Command) -> None:
    done = dry(runner)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == (
        "deploy: 5 tasks: 2 would run, 1 may run, which is known at run time, 2 would be skipped; nothing was started\n"
        "\n"
        "inputs\n"
        "    tag: 1.10\n"
        "    key: ***\n"
        "\n"
        "env\n"
        "    K: x\n"
        "\n"
        "layer 1\n"
        "● build  os_exec\n"
        "    command: touch built; echo '1.10'\n"
        "○ old  os_exec\n"
        "    would be skipped because its `if` is false ({{ .inputs.tag == 'old' }})\n"
        "\n"
        "layer 2\n"
        "● ship  os_exec  ← build\n"
        '    command: ["./ship", "‹build.url›"]\n'
        "    envs.KEY: ***\n"
        "    envs.K: x\n"
        "? perhaps  os_exec  ← build\n"
        "    may run or not: its `if` is decided at run time ({{ .build.url != '' }})\n"
        "    command: true\n"
        "\n"
        "layer 3\n"
        "○ alarm  os_exec  ← ship  (when failure)\n"
        "    would be skipped because nothing before it failed\n"
    )


def test_for_programs(runner: Command) -> None:
    told = dry(runner, "--output", "json", "--set", "tag=old", "--id", "mine").json
    assert (told["name"], told["id"], told["inputs"]["tag"]["value"]) == ("deploy", "mine", "old")
    assert told["inputs"]["key"] == {"value": "***", "confidential": True}
    tasks = {task["name"]: task for task in told["tasks"]}
    assert [(task["layer"], task["prospect"]) for task in tasks.values()] == [
        (1, "runs"), (1, "runs"), (2, "runs"), (3, "skipped"), (2, "open"),
    ]  # fmt: skip
    assert tasks["ship"]["at_run_time"] == ["build.url"]
    assert tasks["ship"]["spec"]["command"] == ["./ship", "‹build.url›"]
    assert tasks["ship"]["spec"]["envs"]["KEY"] == "***"
    assert (tasks["alarm"]["reason"], tasks["perhaps"]["reason"]) == ("no_failure", "if")


def test_options_that_choose_and_give_are_heard(runner: Command) -> None:
    (runner.folder / "vars.env").write_text("K=from {{ file }}\nL=2\n")
    told = dry(runner, "--task", "ship", "--env-file", "vars.env", "--label", "a=b", "--output", "json").json
    assert [task["name"] for task in told["tasks"]] == ["build", "ship"]
    assert told["env"] == {"K": "from {{ file }}", "L": "2"}
    assert told["tasks"][1]["spec"]["envs"]["K"] == "from {{ file }}"
    assert told["labels"] == {"a": "b"}
    assert [task["name"] for task in dry(runner, "--from", "build", "--output", "json").json["tasks"]] == [
        "build", "ship", "alarm", "perhaps",
    ]  # fmt: skip
    assert "command" not in dry(runner, "--quiet").stdout


def test_what_is_known_to_go_wrong_is_said(runner: Command) -> None:
    bad = {"name": "bad", "type": "os_exec", "spec": {"command": "true", "limits": {"nofile": "{{ .inputs.tag }}"}}}
    tasks = [bad, shell("after", "true", depends_on=["bad"]), shell("far", "true", forward={"labels": {"site": "eu"}})]
    inputs = {"tag": {"default": "many"}, "key": {"confidential": True}}
    done = dry(runner, document=group(tasks, inputs=inputs))
    assert done.status == 1
    assert "would end as errored: spec.limits.nofile: expected a whole number" in done.stdout
    assert "would be skipped because bad did not succeed" in done.stdout
    assert "would end as errored: this runner has no peers to forward to" in done.stdout


def test_what_cannot_be_run_cannot_be_shown_either(runner: Command) -> None:
    missing = runner("run", runner.write(DOCUMENT), "--dry-run")
    assert (missing.status, missing.stdout) == (2, "")
    assert "input 'key' is required; give it with --set-secret key=@file, or key=- to type it unseen" in missing.stderr
    assert "the group has no task 'shop' (did you mean 'ship'?)" in dry(runner, "--task", "shop").stderr


def test_a_terminal_is_not_moved_and_literal_secrets_are_hidden(runner: Command) -> None:
    document = group([shell("a", f"printf '\x1b[2J'; echo {SECRET}")], inputs={"key": {"confidential": True}})
    done = dry(runner, document=document)
    assert "    command: printf '\\x1b[2J'; echo ***\n" in done.stdout
