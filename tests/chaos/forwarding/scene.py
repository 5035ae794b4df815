"""A group whose tasks run here and there, and what has to become of it, whatever happens meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

LONG_SECONDS = 1000
BEGUN = "begun"
"""The file that tells that the group which is cancelled runs."""
SECRET = "hunter-22-is-no-word"  # what one input holds
_MARKED = "***"


def doomed(work: str) -> dict[str, Any]:
    """A group that nobody would see the end of; `work` tells its processes from those of others."""
    script = f"touch {work}/{BEGUN}; trap '' TERM; for n in $(seq {LONG_SECONDS}); do sleep 1; done"
    far = {"type": "os_exec", "spec": {"command": script}, "forward": {"to": "onprem"}}
    return {"name": "doomed", "taskGroup": [{"name": "far", **far}, {"name": "next", "depends_on": ["far"], **far}]}


@dataclass
class Part:
    """One task, and what is known of it beforehand. `starts` are the attempts that it takes."""

    name: str
    document: dict[str, Any]
    status: str = "success"
    exit_code: int = 0
    starts: int = 1
    printed: bytes = b""


@dataclass
class Scene:
    """`work` is a folder of the tasks' own."""

    work: str
    parts: list[Part] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        return {
            "name": "scene",
            "inputs": {"secret": {"required": True, "confidential": True}},
            "taskGroup": [part.document for part in self.parts],
        }

    def draw(self, chance: random.Random) -> None:
        for number in range(chance.randint(5, 12)):
            self.parts.append(self._part(chance, f"t{number}"))

    def _part(self, chance: random.Random, name: str) -> Part:
        kind = chance.choice(("prints", "prints", "waits", "waits", "fails", "flaky", "secret", "exports"))
        lines = chance.randint(0, 40)
        seconds = chance.uniform(0.0, 1.2) if kind in ("waits", "flaky", "exports") else 0.0
        script = [f'echo "{name} {{{{ .task.attempt }}}}" >> {self.work}/started']
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
        if chance.random() < 0.75:
            document["forward"] = {"to": "onprem"}
        part.document = document
        return part

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
