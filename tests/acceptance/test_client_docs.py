"""The example of docs/client.md, word by word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.mortal import Node

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    node = Node(tmp_path / "state")
    node.start()
    try:
        program = example.replace("unix:/run/runner/runner.sock", node.socket)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    finally:
        node.remove()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "1 group_accepted None"
    assert "greet b'hello\\n'" in lines
    assert lines[-1] == "success hello"
