"""Packages with drivers: one that is as it should be, and those that go wrong in every way, with what is said of each."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.command import shell
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
