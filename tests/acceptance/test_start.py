"""docs/start.md, typed as it stands there: what it shows is what is seen."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

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


def test_it_is_as_it_says(tmp_path: Path) -> None:
    [document] = re.findall(r"^```yaml\n(.*?)^```$", START, re.MULTILINE | re.DOTALL)
    (tmp_path / "site.yaml").write_text(document)
    program = tmp_path / "bin" / "runner"
    program.parent.mkdir()
    code = "import sys; from runner.cli import main; sys.argv[0] = 'runner'; sys.exit(main())"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", code])} "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    script = "exec 2>&1\n"
    for number, (command, _) in enumerate(steps()):
        script += f"{command}\necho '== {number} over'\n"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    said = re.split(r"== [0-9]+ over\n", done.stdout)
    for (command, shown), lines in zip(steps(), said, strict=False):
        seen = [likeness(line) for line in lines.splitlines()]
        assert [line for line in map(likeness, shown) if line not in seen] == [], f"{command}\n{lines}"
