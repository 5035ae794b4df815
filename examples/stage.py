"""What the demos that show nodes have in common: commands that are shown as they are typed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 120
"""After which something hangs."""


class Stage:
    """Commands, shown as they are typed, with state and settings of their own; and what was not as it should be."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        """`name` is the demo's. `environment` is what the commands have beside the shell's own."""
        self.faults: list[str] = []
        self._name = name
        self._log = folder / "log"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
        self._environment |= {"XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **environment}

    def say(self, sentence: str) -> None:
        print(f"\n\033[1m{sentence}\033[0m" if sys.stdout.isatty() else f"\n{sentence}", flush=True)

    def expect(self, truth: bool, fault: str) -> None:
        if not truth:
            self.faults.append(f"{self._name}: {fault}")

    @contextmanager
    def service(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """One that runs beside all else, and is ended at last."""
        with open(self._log, "ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        print(f"$ {shlex.join(command)} &    # process {process.pid}", flush=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def run(self, *command: str, shown: bool = True) -> str:
        if shown:
            print(f"$ {shlex.join(command)}", flush=True)
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False
        )
        if shown:
            print(done.stdout, end="", flush=True)
        self.expect(done.returncode == 0, f"`{shlex.join(command)}` ended with {done.returncode}")
        return done.stdout

    @contextmanager
    def followed(self, *command: str) -> Iterator[Iterator[str]]:
        """The lines of a command while it runs, each shown."""
        print(f"$ {shlex.join(command)}", flush=True)
        process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        patience = threading.Timer(SECONDS, process.kill)
        patience.start()
        assert process.stdout is not None
        try:
            yield map(_shown, process.stdout)
            self.expect(process.wait() == 0, f"`{shlex.join(command)}` ended with {process.returncode}")
        finally:
            patience.cancel()
            process.kill()
            process.wait()
            process.stdout.close()

    def until_there(self, path: Path, what: str) -> None:
        """Wait for a file."""
        until = time.monotonic() + SECONDS
        while not path.exists():
            if time.monotonic() > until:
                raise TimeoutError(f"{what} was not there after {SECONDS} s:\n{self._log.read_text()}")
            time.sleep(0.02)


def _shown(line: str) -> str:
    print(line, end="", flush=True)
    return line


def until(lines: Iterator[str], text: str) -> list[str]:
    """The lines up to one that holds `text`."""
    said = []
    for line in lines:
        said.append(line)
        if text in line:
            break
    return said


def main(name: str, play: Callable[[Path], list[str]], well: str) -> int:
    """Play a demo in a folder of its own; the exit status. `well` is said where everything was as it should be."""
    with tempfile.TemporaryDirectory(prefix="runner-demo-") as folder:
        try:
            faults = play(Path(folder))
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            faults = [f"{name}: {error}"]
    print()
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(well)
    return 1 if faults else 0
