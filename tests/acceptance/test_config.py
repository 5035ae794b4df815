"""`runner config check` as its users run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.command import Command

FILE = 'name = "build-1"\nlisten = ["127.0.0.1:7070"]\n[limits]\ngroups = 5\n'
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_example_of_the_page(runner: Command) -> None:
    block = PAGE.read_text().split("## What is in effect")[1].split("```console\n$ ")[1].split("```")[0]
    command, *expected = block.splitlines()
    file = f"{runner.folder}/{runner.write(chr(10).join(FILE.splitlines()[:2]), 'runner.toml')}"
    environment = {"RUNNER_CONFIG": file, "RUNNER_STATE_DIR": "/var/lib/runner"}
    done = runner(*command.split()[1:], environment=environment)
    lines = [re.sub(r" +# ", " # ", line).replace(file, "/etc/runner/runner.toml") for line in done.stdout.splitlines()]
    assert expected.pop() == "…"
    left = iter(lines)
    assert all(re.sub(r" +# ", " # ", line) in left for line in expected), lines


def test_the_effective_configuration(runner: Command) -> None:
    file = runner.write(FILE, "runner.toml")
    done = runner("config", "check", "--config", file, "--drain", "5s", environment={"RUNNER_LIMITS_GROUPS": "7"})
    assert (done.status, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f'name = "build-1" # {runner.folder}/runner.toml:1' in lines
    assert "groups = 7 # RUNNER_LIMITS_GROUPS" in lines
    assert 'drain = "5s" # --drain' in lines
    assert f'state_dir = "{runner.home}/.local/state/runner" # default' in lines
    # What it prints is a file that has the same effect.
    again = runner("config", "check", "--config", runner.write(done.stdout, "again.toml"), "--output", "json")
    assert again.json["values"]["limits.groups"]["value"] == 7
    assert again.json["values"]["limits.groups"]["source"]["name"] == f"{runner.folder}/again.toml"


@pytest.mark.parametrize("output", ["text", "json"])
def test_every_fault(runner: Command, output: str) -> None:
    file = runner.write(f'nme = "x"\n{FILE}[tls]\nkey = "-----BEGIN PRIVATE KEY-----"\n', "runner.toml")
    done = runner("config", "check", "--config", file, "--output", output, environment={"RUNNER_DRAIN": "soon"})
    assert done.status == 2
    if output == "json":
        assert not done.json["valid"]
        assert [fault["line"] for fault in done.json["faults"]] == [1, 7, 0]
    else:
        assert done.stderr.splitlines() == [
            "runner: the configuration was refused:",
            f"{runner.folder}/runner.toml:1:1: nme: unknown key (did you mean 'name'?)",
            f"{runner.folder}/runner.toml:7:1: tls.key: expected the path of a file, and not what stands in it",
            'RUNNER_DRAIN: "soon": expected a duration such as 90, 1.5s, 2m30s or 1h',
        ]
        assert done.stdout == ""


def test_a_single_fault_stands_in_one_line(runner: Command) -> None:
    done = runner("config", "check", "--listen", "0.0.0.0:7070")
    assert done.status == 2
    assert done.stderr.startswith("runner: --listen: others could listen in on 0.0.0.0:7070")


def test_warnings_are_no_faults(runner: Command) -> None:
    done = runner("config", "check", environment={"RUNNER_LISTN": "x"})
    assert done.status == 0
    assert done.stderr == "runner: RUNNER_LISTN: warning: is not known (did you mean 'RUNNER_LISTEN'?)\n"


def test_what_runner_run_reads(runner: Command) -> None:
    """From its environment, and from no file."""
    runner.write("state_dir = '/nowhere'\nx = 1", "runner.toml")
    group = runner.write('{"taskGroup": [{"name": "a", "type": "os_exec", "spec": {"command": "true"}}]}')
    environment = {"RUNNER_STATE_DIR": "state", "RUNNER_CONFIG": "runner.toml"}
    assert runner("run", group, environment=environment).status == 0
    assert (runner.folder / "state" / "runs").is_dir()
    done = runner("run", group, environment={"RUNNER_KEEP_DAYS": "x", "RUNNER_LOG_LIMIT": "y"})
    assert (done.status, len(done.stderr.splitlines())) == (2, 3)


def test_a_supervisor_reads_the_file_of_its_node(runner: Command) -> None:
    file = runner.write("containment = 'docker'", "runner.toml")
    done = runner("supervisor", "--config", file)
    assert done.status == 2
    assert 'containment: expected auto, cgroup2 or marker, found "docker"' in done.stderr
