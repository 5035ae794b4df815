"""The command `runner` for long tables of what it says: each line runs in a process of its own, forked from one that has imported
everything, in a hundredth of the time that a new one takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.acceptance.command import TIMEOUT_SECONDS, Done

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Forked:
    requests: IO[str]
    answers: IO[str]

    def __call__(
        self, folder: Path, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Done:
        """Run it to its end in `folder`, which is its home too. However it ends, no traceback may be seen."""
        given = folder / ".stdin"
        given.write_bytes(stdin)
        said = {stream: folder / f".{stream}" for stream in ("stdout", "stderr")}
        around = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **(environment or {})}
        files = [str(given), *map(str, said.values())]
        self.requests.write(json.dumps([list(arguments), str(folder), around, files]) + "\n")
        self.requests.flush()
        status = int(self.answers.readline())
        stdout, stderr = (file.read_bytes().decode(errors="replace") for file in said.values())
        assert "Traceback" not in stdout + stderr
        return Done(status=status, stdout=stdout, stderr=stderr)


@contextmanager
def forked() -> Iterator[Forked]:
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("w") as requests, ours.makefile("r") as answers:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.forked", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONWARNINGS": "error"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        ours.settimeout(TIMEOUT_SECONDS)
        try:
            yield Forked(requests=requests, answers=answers)
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            process.wait(TIMEOUT_SECONDS)


def _serve(requests: IO[str], answers: IO[str]) -> None:
    from importlib import import_module

    from runner.cli.commands import COMMANDS

    for name in COMMANDS:
        import_module(f"runner.cli.{name}")
    for line in requests:
        arguments, folder, environment, files = json.loads(line)
        if (pid := os.fork()) == 0:
            _run(arguments, folder, environment, files)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        answers.flush()


def _run(arguments: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    """One command, as the start of a process has it. Does not return."""
    from runner.cli import main

    status = 70
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, path in enumerate(files):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0), 0o600), number)
        sys.argv = ["runner", *arguments]
        status = main()
    except SystemExit as ended:  # of argparse
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as line, line.makefile("r") as asked, line.makefile("w") as answered:
        _serve(asked, answered)
