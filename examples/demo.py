"""Runs the examples one after another and says what to look at. Ends with 0 when each of them ended as it should.

`make demo`, or `python examples/demo.py` where the command `runner` is on PATH.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Example:
    """A file, what to look at, the exit status that it must have, and a text that must be in what it prints."""

    file: str
    look_at: str
    shows: str
    status: int = 0


EXAMPLES = (
    Example(
        "diamond.yaml",
        "Two builds start at once; the release waits for both and gets what they made.",
        "releasing app-1.4.2-linux",
    ),
    Example(
        "matrix.yaml",
        "One task for each combination of two lists, two at a time. The next one gets a list of what they made.",
        "packing app-tcc-debug",
    ),
    Example(
        "secret.yaml",
        "A password goes from one task to the next. Both print it, and what is made of it: you see ***.",
        "log-in.connection = ***",
    ),
    Example(
        "failure.yaml",
        "A task fails, and this group is meant to. Each skipped task says because of which.",
        "deploy      skipped because package was skipped",
        status=1,
    ),
    Example(
        "retry.yaml",
        "A flaky task is tried again, each time after a longer pause, until it succeeds.",
        "download -- success",
    ),
    Example(
        "cleanup.yaml",
        "A task exceeds its time, and this group fails. The clean-up runs all the same.",
        "removed /",
        status=1,
    ),
    Example(
        "expressions.yaml",
        "Expressions in a downloaded file are filled in; the file is only data.",
        "image: registry.example.com/shop:v7",
    ),
    Example(
        "sample.yaml",
        "A secret in a command line: it is masked in what the task prints, and you are warned that `ps` would show it.",
        "bar  | ***",
    ),
)


def show(example: Example, environment: dict[str, str]) -> list[str]:
    """Run one example in the open; what was not as it should be."""
    command = ["runner", "run", f"examples/{example.file}"]
    sentence = f"\033[1m{example.look_at}\033[0m" if sys.stdout.isatty() else example.look_at
    print(f"\n{sentence}\n$ {' '.join(command)}", flush=True)
    said = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.decode(errors="replace"))
            print(said[-1], end="", flush=True)
    faults = []
    if process.returncode != example.status:
        faults.append(f"{example.file}: exit status {process.returncode}, expected {example.status}")
    if example.shows not in "".join(said):
        faults.append(f"{example.file}: nowhere does it say {example.shows!r}")
    return faults


def main() -> int:
    faults = []
    with tempfile.TemporaryDirectory(prefix="runner-demo-") as state:
        environment = {**os.environ, "XDG_STATE_HOME": state}
        for example in EXAMPLES:
            faults += show(example, environment)
    print()
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"All {len(EXAMPLES)} examples ended as they should, the two that fail included.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
