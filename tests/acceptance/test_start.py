"""docs/start.md, typed as it stands there at a terminal: what it shows is what is seen."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import closing
from pathlib import Path

from tests.acceptance.command import RUNNER, Command
from tests.acceptance.screens import Terminal

START = (Path(__file__).parents[2] / "docs" / "start.md").read_text()


def likeness(line: str) -> str:
    """A line without what differs from one time to the next."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "ID", line)
    line = re.sub(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\b", "WHEN", line)
    line = re.sub(r"\b[0-9.]+ m?s\b", "TIME", line)
    return " ".join(line.split())


def steps() -> list[tuple[str, list[str]]]:
    """Its commands, and some lines of what each says."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", START, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_it_is_as_it_says(runner: Command) -> None:
    for document in re.findall(r"^```yaml\n(.*?)^```$", START, re.MULTILINE | re.DOTALL):
        [name] = re.findall(r"^name: (.*)$", document, re.MULTILINE)
        runner.write(document, f"{name}.yaml")
    program = runner.folder.parent / "bin" / "runner"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(RUNNER)} "$@"\n')
    program.chmod(0o755)
    script = "".join(f"{command}\necho '== {number} over'\n" for number, (command, _) in enumerate(steps()))
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    terminal = Terminal(runner, script, command=("bash", "-c"), environment=path, columns=150, lines=300)
    with closing(terminal):
        terminal.end()
    said = re.split(r"== [0-9]+ over\n?", terminal.text)
    for (command, shown), lines in zip(steps(), said, strict=False):
        seen = [likeness(line) for line in lines.splitlines()]
        assert [line for line in map(likeness, shown) if line not in seen] == [], f"{command}\n{lines}"
