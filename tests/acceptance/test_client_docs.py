"""The examples of docs/client.md, word by word."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from runner.client import Client, Endpoint
from tests.acceptance.command import RUNNER, Command
from tests.acceptance.mortal import Node
from tests.readme import commands

FAILS = {"name": "fails", "type": "os_exec", "spec": {"command": "echo failing; exit 1"}}
SKIPPED = {"name": "skipped", "type": "os_exec", "spec": {"command": "true"}, "depends_on": ["fails"]}
DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_examples_run(tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    said = []
    node = Node(tmp_path / "state")
    node.start()
    try:
        # They go through all that there is: among it are tasks that they know nothing of, and that never started.
        with Client(Endpoint(target=node.socket)) as client:
            id = client.submit(json.dumps({"id": "other", "taskGroup": [FAILS, SKIPPED]})).id
            for _ in client.watch(id):
                pass  # to its end
        for example in examples:
            program = example.replace("unix:/run/runner/runner.sock", node.socket)
            done = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
            )
            assert done.returncode == 0, done.stderr
            said.append(done.stdout.splitlines())
    finally:
        node.remove()
    blocking, with_asyncio = said
    assert blocking[0] == "1 group_accepted None"
    assert "greet b'hello\\n'" in blocking
    assert blocking[-1] == "success hello"
    assert with_asyncio[0].endswith("['os_exec', 'expression_evaluation']")
    assert with_asyncio[1].endswith(" success")
    assert with_asyncio[2:] == ["greet b'hello\\n'", "other failed", "fails b'failing\\n'"]


def test_the_contexts(runner: Command) -> None:
    """They are kept without a node, and what the page shows of the file is read as it stands there."""
    [contexts] = commands(DOCUMENT)
    function = f'runner() {{ {shlex.join(RUNNER)} "$@"; }}\n'
    environment = runner.environment
    done = subprocess.run(
        ["bash", "-euc", function + contexts],
        capture_output=True, text=True, check=False, timeout=60, cwd=runner.folder, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "build is build.example:8443, and current",
        "lab is lab.example:8443",
        "  build  build.example:8443",
        "* lab    lab.example:8443",
    ]
    kept = runner.home / ".config" / "runner" / "contexts.toml"
    assert kept.stat().st_mode & 0o777 == 0o600
    [example] = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    kept.write_text(example)
    assert runner("context", "ls").stdout == "* build  build.example:8443\n"
    assert f"{kept.parent}/ca.pem cannot be read: No such file or directory" in runner("info").stderr
