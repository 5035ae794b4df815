"""Task types out of packages, also out of bad ones."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import serving
from tests.plugins import install

SECRET = "hunter2-hunter2"

GREETING = """
    class GreetSpec(Spec):
        "Greets somebody."
        who: str
        times: int = 1

    class Greet(SimpleDriver):
        type = "greet"
        spec_model = GreetSpec
        capabilities = Capabilities(recovery=Recovery.RERUN)

        async def run(self, ctx, spec):
            print("printed by the plugin")
            for _ in range(spec.times):
                ctx.log.write("stdout", f"Hello, {spec.who}\\n".encode())
            return {"text": f"Hello, {spec.who}"}
"""


def task(name: str, type: str, **more: object) -> dict[str, object]:
    return {"name": name, "type": type, **more}


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    return tmp_path / "packages"


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
    assert re.search(r"^greet +greetings 2.1 +rerun +- +healthy$", text, re.MULTILINE)
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


BROKEN = {
    "absent": "import no_such_module_anywhere",
    "torn": "class Broken(",
    "leaves": "sys.exit(3)",
    "no_driver": "Broken = 5",
    "sync": """
        class Broken(SimpleDriver):
            type = "sync"
            def run(self, ctx, spec): return {}
    """,
    "lacking": """
        class Broken(Driver):
            type = "lacking"
            async def start(self, ctx, key): return b""
    """,
    "misnamed": """
        class Broken(SimpleDriver):
            type = "other"
            async def run(self, ctx, spec): return {}
    """,
    "unmade": """
        class Broken(SimpleDriver):
            type = "unmade"
            def __init__(self): raise RuntimeError("no licence")
            async def run(self, ctx, spec): return {}
    """,
    "careless": """
        class Broken(SimpleDriver):
            type = "careless"
            def __init__(self): pass
            async def run(self, ctx, spec): return {}
    """,
    "modelless": """
        class Broken(SimpleDriver):
            type = "modelless"
            spec_model = dict
            async def run(self, ctx, spec): return {}
    """,
    "unfinished": """
        class Unfinished(Spec):
            a: "NoSuchType"
        class Broken(SimpleDriver):
            type = "unfinished"
            spec_model = Unfinished
            async def run(self, ctx, spec): return {}
    """,
    "boastful": """
        class Broken(SimpleDriver):
            type = "boastful"
            capabilities = Capabilities(signals=frozenset({"fly"}))
            async def run(self, ctx, spec): return {}
    """,
}
REASONS = {
    "absent": "ModuleNotFoundError: No module named 'no_such_module_anywhere' (",
    "torn": "SyntaxError: ",
    "leaves": "SystemExit: 3 (",
    "no_driver": "an object of type int is no class that derives from drivers.base.Driver",
    "sync": "run of Broken has to be an `async def`",
    "lacking": "Broken does not define stop, wait",
    "misnamed": "its entry point is called 'misnamed' and its `type` is 'other'; they have to be the same",
    "unmade": "RuntimeError: no licence (",
    "careless": "the __init__ of Broken does not call super().__init__()",
    "modelless": "its `spec_model`, dict, is no class that derives from drivers.base.Spec",
    "unfinished": "PydanticUndefinedAnnotation: name 'NoSuchType' is not defined",
    "boastful": "its `capabilities.signals` are not a frozenset of destroy, pause, start",
}


def install_broken(packages: Path) -> dict[str, str]:
    environment = {}
    for type, code in BROKEN.items():
        environment = install(packages, f"{type}-plugin", code, {type: "Broken"})
    install(packages, "thief", GREETING, {"os_exec": "Greet"})
    install(packages, "first", GREETING, {"greet": "Greet"})
    install(packages, "second", GREETING, {"greet": "Greet"})
    return environment


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


MISBEHAVING = """
    class Knob(Spec):
        way: str = ""
        text: str = ""

        def model_post_init(self, context):
            if self.way == "model":
                raise RuntimeError("the model is broken")
            if self.way == "model leaves":
                sys.exit(1)

    class Bad(Driver):
        type = "bad"
        spec_model = Knob
        capabilities = Capabilities(signals=frozenset({"pause", "start"}))
        texts = {}

        async def fingerprint(self):
            raise ZeroDivisionError("no health")

        def check(self, spec, exports, confidential=()):
            if spec.get("way") == "check":
                raise RuntimeError("the check is broken")
            if spec.get("way") == "nonsense check":
                return [5]
            return ()

        async def start(self, ctx, key):
            way, text = ctx.spec.way, ctx.spec.text
            if way == "start":
                raise ValueError(text)
            if way == "start says":
                raise DriverError(f"it is {text}", reason=text)
            if way == "start leaves":
                sys.exit(1)
            if way == "start hangs":
                await asyncio.get_running_loop().create_future()
            if way == "start gives":
                return 5
            if way == "start gives much":
                return b"x" * 100_000
            self.texts[key] = text  # and not in the handle, which is kept as it is
            return f"{way}:{key}".encode()

        async def wait(self, handle):
            way, _, key = handle.decode().partition(":")
            text = self.texts[key]
            if way == "wait":
                raise ValueError(text)
            if way == "wait leaves":
                raise SystemExit(3)
            if way == "wait interrupts":
                raise KeyboardInterrupt
            if way == "wait is cancelled":
                raise asyncio.CancelledError
            if way == "wait gives":
                return {"a": 1}
            if way == "wait gives bad outputs":
                return Outcome(status=Status.SUCCESS, outputs={"a": 5})
            if way == "wait runs":
                return Outcome(status=Status.RUNNING)
            if way == "wait tells":
                return Outcome(status=Status.FAILED, reason=text, error=f"it is {text}")
            return Outcome(status=Status.SUCCESS)

        async def stop(self, handle, grace):
            raise RuntimeError("no stop")

        async def destroy(self, handle):
            sys.exit(9)

        def sweep(self, temp, live):
            sys.exit(9)

    class Simple(SimpleDriver):
        type = "simple"
        spec_model = Knob

        async def run(self, ctx, spec):
            if spec.way == "leaves":
                sys.exit(1)
            if spec.way == "is cancelled":
                raise asyncio.CancelledError
            if spec.way == "gives":
                return 5
            if spec.way == "gives bytes":
                return {"a": b"b"}
            if spec.way == "logs":
                ctx.log.write("nowhere", "text")
            if spec.way == "masks":
                ctx.add_mask(5, "ab")
            return {}
"""
ENDS = {
    "start": ("errored", "driver_error", "the driver failed unexpectedly; the runner's own log says how"),
    "start says": ("errored", "***", "it is ***"),
    "start leaves": ("errored", "driver_error", "the driver of 'bad' tried to end the runner in start() (sys.exit)"),
    "start hangs": ("failed", "timeout", "the driver had not started it when its timeout was up"),
    "start gives": ("errored", "driver_error", "the driver's handle is missing or longer than 65,536 bytes"),
    "start gives much": ("errored", "driver_error", "the driver's handle is missing or longer than 65,536 bytes"),
    "wait": ("errored", "driver_error", "the driver failed unexpectedly; the runner's own log says how"),
    "wait leaves": ("errored", "driver_error", "the driver of 'bad' tried to end the runner in wait() (sys.exit)"),
    "wait interrupts": ("errored", "driver_error", "the driver of 'bad' tried to end the runner in wait() (sys.exit)"),
    "wait is cancelled": (
        "errored",
        "driver_error",
        "the driver of 'bad' gave up in wait(): what it waited for there was cancelled",
    ),
    "wait gives": (
        "errored",
        "driver_error",
        "wait() of the driver of 'bad' gave an object of type dict, not an Outcome",
    ),
    "wait gives bad outputs": (
        "errored",
        "driver_error",
        "the driver told of the attempt's end what cannot be kept: outputs",
    ),
    "wait runs": ("errored", "driver_error", "the driver says that the attempt ended as 'running'"),
    "model": ("errored", "driver_error", "the driver failed unexpectedly; the runner's own log says how"),
    "model leaves": ("errored", "driver_error", "the spec model of 'bad' tried to end the runner (sys.exit)"),
    "wait tells": ("failed", "***", "it is ***"),
    "": ("success", None, None),
}
SIMPLE_ENDS = {
    "leaves": "the driver tried to end the runner (sys.exit)",
    "is cancelled": "the driver gave up: something that it waited for was cancelled",
    "gives": "run() of the driver gave an object of type int, not outputs or an Outcome",
    "gives bytes": "the driver told of the attempt's end what cannot be kept: outputs",
    "logs": "the driver failed unexpectedly; the runner's own log says how",
    "masks": "the driver failed unexpectedly; the runner's own log says how",
}


def misbehaving(folder: Path) -> list[dict[str, object]]:
    (folder / "secret").write_text(SECRET)
    command = f'echo "name=$(cat {folder}/secret)" >> "$OUTPUT_FILE"'
    tasks: list[dict[str, object]] = [
        shell("secret", command, exports=[{"name": "name", "confidential": True}]),
    ]
    for type, ways in (("bad", list(ENDS)), ("simple", list(SIMPLE_ENDS))):
        tasks += [
            task(
                f"{type}-{number}",
                type,
                imports=[{"from": "secret", "variable": "name"}],
                spec={"way": f"{{{{ '{way}' }}}}", "text": "{{ .secret.name }}"},
                **({"timeout": "0.5s"} if "hangs" in way else {}),
            )
            for number, way in enumerate(ways)
        ]
    return [*tasks, shell("last", "echo still here", depends_on=[str(one["name"]) for one in tasks], when="always")]


def judged(results: dict[str, dict[str, object]]) -> None:
    for number, (way, end) in enumerate(ENDS.items()):
        found = results[f"bad-{number}"]
        assert (found["status"], found["reason"], found["error"]) == end, way
    for number, (way, error) in enumerate(SIMPLE_ENDS.items()):
        found = results[f"simple-{number}"]
        assert (found["status"], found["reason"], found["error"]) == ("errored", "driver_error", error), way
    assert results["last"]["status"] == "success"


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


SICK = """
    class Stuck(SimpleDriver):
        type = "stuck"
        async def fingerprint(self):
            while True:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    pass  # it does not want to end
        async def run(self, ctx, spec): return {}

    class Vague(SimpleDriver):
        type = "vague"
        async def fingerprint(self): return {"healthy": True}
        async def run(self, ctx, spec): return {}

    class Down(SimpleDriver):
        type = "down"
        async def fingerprint(self): return Fingerprint(healthy=False, description="the service is down")
        async def run(self, ctx, spec): return {}
"""
HEALTH = {
    "bad": "its health check failed: ZeroDivisionError: no health",
    "stuck": "its health check has not come back within 3 s",
    "vague": "its health check gave no Fingerprint of texts",
    "down": "the service is down",
}


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
