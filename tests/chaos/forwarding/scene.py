"""A group whose tasks run here and there, and what has to become of it, whatever happens meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

LONG_SECONDS = 1000
BEGUN = "begun"
BEGUN_WHOLE = "begun-whole"
"""The files that tell that the groups which are cancelled run."""
STARTED = "started"
"""A file that has a line for each attempt that was started, with the task's name and the attempt's number."""
SECRET = "hunter-22-is-no-word"  # what one input holds
_MARKED = "***"


def doomed(work: str) -> dict[str, Any]:
    """A group that nobody would see the end of; `work` tells its processes from those of others."""
    script = f"touch {work}/{BEGUN}; trap '' TERM; for n in $(seq {LONG_SECONDS}); do sleep 1; done"
    far = {"type": "os_exec", "spec": {"command": script}, "forward": {"to": "onprem"}}
    return {"name": "doomed", "taskGroup": [{"name": "far", **far}, {"name": "next", "depends_on": ["far"], **far}]}


def doomed_whole(work: str) -> dict[str, Any]:
    """The same as a group that another runner has; and what cleans up after it."""
    script = (
        f"echo far 1 >> {work}/{STARTED}; touch {work}/{BEGUN_WHOLE}; for n in $(seq {LONG_SECONDS}); do sleep 1; done"
    )
    clean = f"echo clean {{{{ .task.attempt }}}} >> {work}/{STARTED}"
    tasks = [
        {"name": "far", "spec": {"command": script}},
        {"name": "next", "spec": {"command": "true"}, "depends_on": ["far"]},
        {"name": "clean", "spec": {"command": clean}, "depends_on": ["far"], "when": "always"},
    ]
    return {"name": "doomed", "forward": {"to": "onprem"}, "taskGroup": [{"type": "os_exec", **task} for task in tasks]}


@dataclass
class Part:
    """One task, and what is known of it beforehand. `starts` are the attempts that it takes."""

    name: str
    document: dict[str, Any]
    status: str = "success"
    exit_code: int | None = 0
    starts: int = 1
    printed: bytes = b""
    runner: str | None = "cloud"

    @property
    def after(self) -> list[str]:
        """What it waits for."""
        imports = [one["from"] for one in self.document.get("imports", ())]
        return [*self.document.get("depends_on", ()), *imports]

    def may_have_printed(self, said: bytes, *, whole: bool) -> bool:
        """Where it is not the `whole` of it, of a secret that was cut there may be what was printed: no secret yet."""
        if said == self.printed:
            return True
        before, mark, _ = self.printed.partition(_MARKED.encode())
        is_cut = mark and said.startswith(before) and len(said) - len(before) < len(SECRET)
        return not whole and (
            self.printed.startswith(said) or bool(is_cut and SECRET.encode().startswith(said[len(before) :]))
        )


@dataclass
class Scene:
    """`work` is a folder of the tasks' own; `whole` is that all of it goes to the other runner."""

    work: str
    prefix: str = "t"
    whole: bool = False
    status: str = "success"
    parts: list[Part] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        return {
            "name": "scene",
            "timeout": "1h",  # which nobody's wrong clock may bring about
            **({"forward": {"to": "onprem"}} if self.whole else {}),
            "inputs": {"secret": {"required": True, "confidential": True}},
            "taskGroup": [part.document for part in self.parts],
        }

    def draw(self, chance: random.Random) -> None:
        for number in range(chance.randint(5, 12)):
            self.parts.append(self._part(chance, f"{self.prefix}{number}"))
        if self.whole and chance.random() < 0.5:
            self._fail(chance)

    def _part(self, chance: random.Random, name: str) -> Part:
        kind = chance.choice(("prints", "prints", "waits", "waits", "fails", "flaky", "secret", "exports"))
        lines = chance.randint(0, 40)
        seconds = chance.uniform(0.0, 1.2) if kind in ("waits", "flaky", "exports") else 0.0
        script = [f'echo "{name} {{{{ .task.attempt }}}}" >> {self.work}/{STARTED}']
        part = Part(name=name, document={})
        part.printed = b"".join(b"%s %d\n" % (name.encode(), line) for line in range(1, lines + 1))
        script.append(f"for n in $(seq {lines}); do echo {name} $n; done")
        script.append(f"sleep {seconds:.2f}")
        document: dict[str, Any] = {"name": name, "type": "os_exec", "spec": {}}
        if kind == "secret":
            document["spec"]["envs"] = {"S": "{{ .inputs.secret }}"}
            script.append('printf %s "$S" | head -c 7; printf %s "$S" | tail -c +8; echo " was said"')
            part.printed += f"{_MARKED} was said\n".encode()
        elif kind == "fails":
            script.append("exit 3")
            document["allow_failure"] = True
            part.status, part.exit_code = "failed", 3
        elif kind == "flaky":
            script.append("test {{ .task.attempt }} -ge 2")
            document["retry"] = {"attempts": 3, "delay": 0}
            part.starts = 2
        elif kind == "exports":
            confidential = chance.random() < 0.5
            document["exports"] = [{"name": "value", "confidential": confidential}]
            script.append(f'echo "value=of-{name}-itself" >> "$OUTPUT_FILE"')
        self._connect(chance, document, script)
        document["spec"]["command"] = "\n".join(script)
        if chance.random() < 0.75 and not self.whole:
            document["forward"] = {"to": "onprem"}
        if self.whole or "forward" in document:
            part.runner = "onprem"
        part.document = document
        return part

    def _fail(self, chance: random.Random) -> None:
        """Something fails, what comes after it is not begun, and something cleans up."""
        self.status = "failed"
        for name, script, after, more in (
            ("bad", "exit 4", [chance.choice(self.parts).name], {"retry": {"attempts": 2, "delay": "0.1s"}}),
            ("never", "true", ["bad"], {}),
            ("clean", "echo cleaned", [*(part.name for part in self.parts), "never"], {"when": "always"}),
        ):
            told = f'echo "{self.prefix}-{name} {{{{ .task.attempt }}}}" >> {self.work}/{STARTED}'
            document = {
                "name": f"{self.prefix}-{name}",
                "type": "os_exec",
                "spec": {"command": f"{told}\n{script}"},
                **more,
            }
            document["depends_on"] = [f"{self.prefix}-{one}" if one in ("bad", "never") else one for one in after]
            self.parts.append(Part(name=f"{self.prefix}-{name}", document=document, runner="onprem"))
        bad, never, clean = self.parts[-3:]
        bad.status, bad.exit_code, bad.starts = "failed", 4, 2
        never.status, never.exit_code, never.starts, never.runner = "skipped", None, 0, None
        clean.printed = b"cleaned\n"

    def _connect(self, chance: random.Random, document: dict[str, Any], script: list[str]) -> None:
        """With what stands before it."""
        for other in chance.sample(self.parts, min(len(self.parts), chance.randint(0, 2))):
            if "exports" in other.document and chance.random() < 0.8:
                document.setdefault("imports", []).append({"from": other.name, "variable": "value"})
                variable = f"V_{other.name}"
                document["spec"].setdefault("envs", {})[variable] = f"{{{{ .{other.name}.value }}}}"
                script.insert(1, f'test "${variable}" = of-{other.name}-itself || exit 9')
            else:
                document.setdefault("depends_on", []).append(other.name)
