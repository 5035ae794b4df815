"""The command `runner` as its users run it: a subprocess with a home, a folder and an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUNNER = (sys.executable, "-c", "import sys; from runner.cli import main; sys.argv[0] = 'runner'; sys.exit(main())")
TIMEOUT_SECONDS = 40


@dataclass(frozen=True, kw_only=True)
class Done:
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True, kw_only=True)
class Command:
    """`folder` is the current folder of the command, and holds its home too. `started` is what `start` started."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder.parent / "home"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}

    def write(self, text: str | bytes, name: str = "group.yaml") -> str:
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    def __call__(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Done:
        """Run it to its end. However it ends, no traceback may be seen."""
        done = subprocess.run(
            [*RUNNER, *arguments],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        said = Done(
            status=done.returncode,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
        )
        assert "Traceback" not in said.stdout + said.stderr
        return said

    def start(
        self,
        *arguments: str,
        before: Sequence[str] = (),
        command: Sequence[str] = RUNNER,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own, as a shell would. `before` is a command that runs it, e.g. a tracer."""
        process = subprocess.Popen(
            [*before, *command, *arguments],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            process_group=0,
            **options,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what a failed test left, and close its pipes."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # a tracer's end alone would set free what it runs
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def group(tasks: Sequence[Mapping[str, Any]], **more: Any) -> str:
    """A document, as JSON."""
    return json.dumps({**more, "taskGroup": list(tasks)})


def shell(name: str, command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "os_exec", "spec": {"command": command}, **more}
