"""Task types out of packages, also out of bad ones."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.acceptance.badplugins import (
    GREETING,
    HEALTH,
    MISBEHAVING,
    REASONS,
    SECRET,
    SICK,
    install_broken,
    judged,
    misbehaving,
    task,
)
from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import serving
from tests.plugins import install


def test_a_plugin_is_a_task_type_like_any_other(runner: Command, packages: Path) -> None:
    environment = install(packages, "greetings", GREETING, {"greet": "Greet"}, version="2.1")
    secret = shell(
        "secret", f'echo "name={SECRET}" >> "$OUTPUT_FILE"', exports=[{"name": "name", "confidential": True}]
    )
    greet = task(
        "greet",
        "greet",
        imports=[{"from": "secret", "variable": "name"}],
        spec={"who": "{{ .secret.name }}", "times": "2"},
        exports=[{"name": "text", "scope": "global"}],
    )
    file = runner.write(group([secret, greet]))
    done = runner("run", "--output", "json", file, environment=environment)
    assert done.status == 0
    assert done.json["results"]["greet"]["outputs"] == {"text": "***"}  # nothing else is on stdout
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr.count("Hello, ***") == 2
    assert "printed by the plugin" in done.stderr

    wrong = runner.write(group([task("a", "greet", spec={"who": "x", "tmies": 2, "times": "many"})]))
    refused = runner("validate", wrong, environment=environment)
    assert refused.status == 2
    assert "taskGroup[0].spec.tmies: unknown key (did you mean 'times'?)" in refused.stderr
    assert re.search(r"group.yaml:1:\d+: taskGroup\[0\].spec.times: expected a whole number", refused.stderr)

    schema = runner("schema", environment=environment).json
    assert schema["definitions"]["greet"]["properties"]["times"]["default"] == 1
    listed = [
        json.loads(line)
        for line in runner("driver", "ls", "--output", "json", environment=environment).stdout.splitlines()
    ]
    assert [(one["name"], one["package"], one["version"], one["built_in"]) for one in listed] == [
        ("os_exec", "", "", True),
        ("expression_evaluation", "", "", True),
        ("greet", "greetings", "2.1", False),
    ]
    text = runner("driver", "ls", environment=environment).stdout
    assert re.search(r"^greet +greetings 2.1 +rerun +- +- +healthy$", text, re.MULTILINE)
    shown = runner("driver", "show", "greet", environment=environment)
    assert "Greets somebody." in shown.stdout
    assert "who: text, required" in shown.stdout
    assert "times: whole number, else 1" in shown.stdout
    assert runner("driver", "show", "greet", "--output", "json", environment=environment).json["spec_schema"][
        "required"
    ] == ["who"]
    unknown = runner("driver", "show", "gret", environment=environment)
    assert (unknown.status, unknown.stderr) == (2, "runner: there is no task type \"gret\" (did you mean 'greet'?)\n")
    completed = runner("__complete", "zsh", "4", "runner", "driver", "show", "gr", environment=environment)
    assert completed.stdout.split() == ["words", "greet"]


def test_plugins_that_cannot_be_used_are_named_with_the_reason_and_stop_nobody(runner: Command, packages: Path) -> None:
    environment = install_broken(packages)
    good = runner.write(group([shell("a", "echo fine")]))
    assert runner("run", good, environment=environment).status == 0
    schema = runner("schema", environment=environment)
    assert "os_exec" in schema.json["definitions"]
    lines = runner("driver", "ls", "--output", "json", environment=environment).stdout.splitlines()
    listed = {(one["name"], one["package"]): one for one in map(json.loads, lines)}
    assert listed["os_exec", ""]["healthy"]
    for type, reason in REASONS.items():
        one = listed[type, f"{type}-plugin"]
        assert (one["healthy"], one["unusable"]) == (False, True)
        assert reason in one["description"], type
    assert (
        listed["os_exec", "thief"]["description"]
        == "the task type 'os_exec' is built in; its entry point needs another name"
    )
    assert "they both claim the task type 'greet'" in listed["greet", "first, second"]["description"]
    shown = runner("driver", "show", "absent", environment=environment).stdout
    assert "from       absent-plugin 1.0" in shown
    assert "cannot be used: ModuleNotFoundError" in shown

    types = [*REASONS, "greet"]
    document = runner.write(group([task(type, type) for type in types]))
    for command in ("validate", "run"):
        refused = runner(command, document, environment=environment)
        assert refused.status == 2
        assert refused.stderr.count("(mend or uninstall it; `runner driver ls` tells of all)") == len(types)
        for number, type in enumerate(types):
            assert f'taskGroup[{number}].type: the task type "{type}" cannot be used: plugin' in refused.stderr
        assert f"plugin absent-plugin 1.0: {REASONS['absent']}" in refused.stderr
        assert (
            "plugins first 1.0 and second 1.0: they both claim the task type 'greet'; uninstall one of them"
            in refused.stderr
        )


def test_a_plugin_whose_import_does_not_end_is_given_up(runner: Command, packages: Path) -> None:
    environment = install(packages, "slow", "import threading; threading.Event().wait()", {"slow": "Slow"})
    script = (
        "from drivers.plugins import Plugins; plugins = Plugins(seconds=0.2); print(plugins.get('slow').reason); "
        "print(plugins.get('slow').reason)"
    )
    process = runner.start(command=(sys.executable, "-c", script), environment=environment, stdout=-1)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.decode().splitlines() == ["to import slow:Slow takes longer than 0.2 s"] * 2


def test_one_that_breaks_later_is_named_by_the_tasks_that_meet_it(runner: Command, packages: Path) -> None:
    failing = """
        class Fickle(SimpleDriver):
            type = "fickle"
            async def run(self, ctx, spec): return Outcome(status=Status.FAILED, error="not yet")
    """
    environment = install(packages, "fickle", failing, {"fickle": "Fickle"})
    file = runner.write(group([task("a", "fickle")], id="first"))
    assert runner("run", file, environment=environment).status == 1
    (packages / "fickle.py").write_text("import no_such_module")
    again = runner("rerun", "first", "--output", "json", environment=environment)
    assert again.status == 1
    ended = again.json["results"]["a"]
    assert (ended["status"], ended["reason"]) == ("errored", "unknown_type")
    reason = (
        "this runner cannot carry out the task type 'fickle': plugin fickle 1.0: ModuleNotFoundError: No module named"
    )
    assert ended["error"].startswith(reason)
    assert reason in runner("explain", again.json["id"], "a", environment=environment).stdout


def test_whatever_a_driver_does_the_runner_goes_on(runner: Command, packages: Path) -> None:
    environment = install(packages, "bad-plugin", MISBEHAVING, {"bad": "Bad", "simple": "Simple"})
    done = runner("run", "--output", "json", runner.write(group(misbehaving(packages))), environment=environment)
    assert done.status == 1
    judged(done.json["results"])
    assert SECRET not in done.stdout + done.stderr
    kept = runner.home / ".local" / "state" / "runner"
    assert [path for path in kept.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_what_a_driver_cannot_judge_is_a_fault_of_its_place(runner: Command, packages: Path) -> None:
    environment = install(packages, "bad-plugin", MISBEHAVING, {"bad": "Bad"})
    ways = ("model", "check", "nonsense check", "model leaves")
    done = runner(
        "validate",
        runner.write(group([task(f"t{n}", "bad", spec={"way": way}) for n, way in enumerate(ways)])),
        environment=environment,
    )
    assert done.status == 2
    assert (
        'taskGroup[0].spec: the driver of "bad" failed to read this spec: RuntimeError: the model is broken'
        in done.stderr
    )
    assert 'taskGroup[3].spec: the driver of "bad" failed to read this spec: SystemExit: 1' in done.stderr
    assert (
        'taskGroup[1].spec: the driver of "bad" failed to check this spec: RuntimeError: the check is broken'
        in done.stderr
    )
    assert (
        'taskGroup[2].spec: the driver of "bad" failed to check this spec: it gave something that is no Finding'
        in done.stderr
    )


def test_a_node_lives_on(runner: Command, packages: Path) -> None:
    environment = install_broken(packages)
    install(packages, "bad-plugin", MISBEHAVING, {"bad": "Bad", "simple": "Simple"})
    install(packages, "sick", SICK, {"stuck": "Stuck", "vague": "Vague", "down": "Down"})
    with serving(runner, **environment) as node:
        assert {line["type"] for line in node.said() if line["action"] == "plugin_unusable"} == {
            *REASONS,
            "os_exec",
            "greet",
        }
        lines = runner("driver", "ls", "--to", "local", "--output", "json").stdout.splitlines()
        listed = {(one["name"], one["package"]): one for one in map(json.loads, lines)}
        for type, reason in REASONS.items():
            assert reason in listed[type, f"{type}-plugin"]["description"], type
        for type, description in HEALTH.items():
            one = listed[type, "bad-plugin" if type == "bad" else "sick"]
            assert (one["healthy"], one["unusable"], one["description"]) == (False, False, description)
        info = runner("info", "--to", "local")
        assert "the service is down" in info.stdout
        done = runner(
            "submit", "--follow", "--to", "local", "--output", "json", runner.write(group(misbehaving(packages)))
        )
        assert done.status == 1
        judged(done.json["results"])
        refused = runner("submit", "--to", "local", runner.write(group([task("a", "absent")])))
        assert refused.status == 2
        assert f"plugin absent-plugin 1.0: {REASONS['absent']}" in refused.stderr
        assert SECRET not in node.log.read_text()
        assert node.end() == 0  # although a health check does not want to
        assert "the health check of 'stuck'" in node.until_said("left_behind")["message"]


BLOCKED = """
    import threading

    class Blocked(SimpleDriver):
        type = "blocked"

        async def run(self, ctx, spec):
            await asyncio.to_thread(threading.Event().wait)
"""


def test_a_run_ends_although_what_a_driver_has_begun_does_not(runner: Command, packages: Path) -> None:
    environment = install(packages, "blocked-plugin", BLOCKED, {"blocked": "Blocked"})
    done = runner(
        "run", "--output", "json", runner.write(group([task("a", "blocked", timeout="0.2s")])), environment=environment
    )
    assert done.status == 1
    assert (done.json["results"]["a"]["status"], done.json["results"]["a"]["reason"]) == ("failed", "timeout")
    assert "what a driver has begun does not end, and is left behind: a thread" in done.stderr


HOLDING_UP = """
    class HoldingUp(SimpleDriver):
        type = "holding_up"

        async def run(self, ctx, spec):
            time.sleep(1000)
"""


def test_who_holds_up_the_runner_is_named_and_ctrl_c_leaves_all_the_same(runner: Command, packages: Path) -> None:
    environment = install(packages, "holding-up", HOLDING_UP, {"holding_up": "HoldingUp"})
    file = runner.write(group([task("a", "holding_up")]))
    process = runner.start("run", file, environment=environment, stdout=-1, stderr=-1)
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    assert re.match(
        rf"runner: the runner is held up by {packages}/holding_up.py, line \d+, in run, which has not", said
    )
    for _ in range(100):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    assert process.returncode == 130
    assert b"once more leaves at once" in process.stderr.read()
