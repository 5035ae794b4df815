"""No byte of a secret leaves a task by any way, and no byte is masked that is none of a secret's.

One group does what people do with secrets, carelessly; it is killed in the middle and taken up again. All that was written or
shown is searched while it runs, after the kill and at the end. What is to be watched in addition is one more line in `CarelessRun.watched`.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.config import load_settings
from runner.logs.files import FileLogStore
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS
from runner.sealing import Sealer
from tests.acceptance import canary
from tests.acceptance.canary import leaks
from tests.acceptance.careless import ENDS, CarelessRun
from tests.acceptance.command import Command, group, shell
from tests.acceptance.test_kill import start_node, state

__all__ = ["state"]


@pytest.fixture
def run(runner: Command) -> CarelessRun:
    run = CarelessRun(runner=runner)
    for name in ("from_file", "from_env", "from_stdin"):
        run.secret(name)
    lines = [run.secret(f"pem {number}") for number in range(3)]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])
    (run.vault / "pem").write_text(pem)
    return run


@pytest.mark.timeout(120)
def test_no_byte_of_a_secret_leaves_a_task(run: CarelessRun) -> None:
    document = run.document()
    process = run.start(document)
    run.until_ready(process)
    assert leaks(run.secrets, run.watched) == []
    assert leaks(run.secrets, [canary.files(run.temp)]) != [], "a search that finds nothing where they are"
    process.kill()
    process.wait()
    assert leaks(run.secrets, run.watched) == []
    again = run.start(document, "--output", "json")
    assert again.wait() == 0, (run.heard / "stderr.1").read_text()
    assert leaks(run.secrets, run.watched) == []
    assert not run.temp.exists()
    result = json.loads((run.heard / "stdout.1").read_bytes())
    assert {name: task["status"] for name, task in result["results"].items()} == ENDS
    assert result["results"]["hold"]["attempts"] == 2


def test_a_task_can_have_core_files_if_it_wants_them(runner: Command) -> None:
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    done = runner("run", runner.write(group([shell("t", "ulimit -Sc; ulimit -Sc $(ulimit -Hc); ulimit -Sc")])))
    told = "unlimited" if most == resource.RLIM_INFINITY else str(most // 512)
    assert [line for line in done.stdout.splitlines() if "|" in line] == ["t  | 0", f"t  | {told}"]


@pytest.mark.timeout(60)
def test_a_crash_leaves_no_core_file(run: CarelessRun) -> None:
    document = run.document()
    unlimited = ("sh", "-e", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', "sh")
    process = run.start(document, before=unlimited)
    run.until_ready(process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (str(process.pid), *children):
        assert re.search(r"^Max core file size +0 ", Path("/proc", pid, "limits").read_text(), re.MULTILINE)
    process.send_signal(signal.SIGABRT)
    assert process.wait() == -signal.SIGABRT
    assert [path.name for path in run.runner.folder.iterdir()] == [document]
    assert leaks(run.secrets, run.watched) == []


@pytest.mark.timeout(120)
def test_what_is_no_secret_is_kept_to_the_byte(runner: Command) -> None:
    """With secrets about, whose parts stand in what is printed, and without: the same bytes."""
    parts = (
        "password hunter2 ::add-mask: add-mask:: c2VjcmV0 aHVudGVy 68756e746572 %68%75 \\u0068 ----- { } [ true ***\n"
    )
    noise = (
        "import os, random, sys; chance = random.Random(7)\n"
        f"for number in range(3000):\n"
        f"    words = {parts!r}.split(' ') + [chance.randbytes(9).hex(), str(number)]\n"
        "    line = ' '.join(chance.choices(words, k=chance.randrange(40))).encode() + chance.randbytes(chance.randrange(9))\n"
        "    os.write(chance.choice((1, 2)), line + b'\\n')\n"
    )
    envs = {"SECRET": "{{ .inputs.secret }}"}
    logs = {}
    for name, inputs in (("with", {"secret": {"confidential": True, "required": True}}), ("without", {"secret": {}})):
        task = {"name": "t", "type": "os_exec", "spec": {"command": ["python3", "-c", noise], "envs": envs}}
        document = runner.write(group([task], id=name, inputs=inputs), f"{name}.yaml")
        runner.write("hunter2hunter3", "secret")
        given = ("--set-secret", "secret=@secret") if name == "with" else ("--set", "secret=hunter2hunter3")
        done = runner("run", document, *given)
        assert done.status == 0, done
        settings = load_settings({"HOME": str(runner.home)})
        store = FileLogStore(settings.run_dir(name) / "logs", sealer=Sealer.open_or_create(settings.key_file))
        logs[name] = [store.read(AttemptId(name, "t", 1), stream, limit=1 << 24) for stream in STREAMS]
    expected = [
        subprocess.run([sys.executable, "-c", noise], capture_output=True, check=True).stdout,
        subprocess.run([sys.executable, "-c", noise], capture_output=True, check=True).stderr,
    ]
    assert [len(data) > 100_000 for data in expected] == [True, True]
    assert logs["without"] == expected
    assert logs["with"] == expected


def test_a_node_that_is_killed_in_the_middle_of_a_secret_tells_none_of_it(tmp_path: Path, state: Path) -> None:
    """The task prints on while nobody reads; the next life of the node knows what the former held back."""
    secret = canary.canary("node")
    workspace = tmp_path / "work"
    workspace.mkdir()
    for name in ("ready", "go"):
        os.mkfifo(workspace / name)
    print_it = 'printf %.20s "$W"; echo > ready; read x < go; printf "%s\\n" "${W#' + "?" * 20 + '}"; cat "$FILE_C"'
    spec = {"command": print_it, "envs": {"W": "{{ .inputs.key }}"}, "files": {"c": "{{ .inputs.key }}"}}
    document = tmp_path / "group.json"
    inputs = {"key": {"confidential": True, "default": secret}}
    document.write_text(group([{"name": "t", "type": "os_exec", "spec": spec}], inputs=inputs))
    watched = [canary.files(state), canary.files(workspace)]
    node = start_node(state, workspace, document)
    assert node.stdout is not None
    id = node.stdout.readline().split()[1]
    (workspace / "ready").read_text()
    assert leaks({"key": secret}, [*watched, canary.processes(id)]) == []
    node.kill()
    said = [*node.communicate()]
    again = start_node(state, workspace)
    (workspace / "go").write_text("\n")
    said += again.communicate(timeout=30)
    assert again.returncode == 0, said
    assert leaks({"key": secret}, [*watched, canary.text("what the nodes said", lambda: "".join(said).encode())]) == []
    settings = load_settings(state_dir=state)
    store = FileLogStore(state / "logs", sealer=Sealer.open_or_create(settings.key_file))
    assert store.read(AttemptId(id, "t", 1), "stdout") == b"***\n***"
    assert not settings.temp_dir(state).exists()


WRITES = (
    "write,writev,pwrite64,pwritev,sendto,sendmsg,openat,mkdir,mkdirat,rename,renameat2,link,linkat,symlink,symlinkat"
)


@pytest.mark.timeout(120)
def test_secrets_are_written_to_pipes_and_to_memory_alone(run: CarelessRun, require: Callable[[str], None]) -> None:
    """Every single call that writes is looked at, so also what was removed or replaced before anybody could search it."""
    for need in ("strace", "ptrace", "tmpfs"):
        require(need)
    calls = run.vault / "calls"
    calls.mkdir()
    tracer = ["strace", "-ff", "-qq", "-y", "-xx", "-s", "10000000", "-e", "signal=none", "-e", f"trace={WRITES}", "-o"]
    process = run.start(run.document(), before=[*tracer, str(calls / "of")])
    run.until_ready(process)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    allowed = ("pipe:", "socket:", "/memfd:", f"{run.temp}/", f"{run.vault}/")
    written = list(traced(calls))
    assert leaks(run.secrets, [lambda: [piece for piece in written if not piece[0].startswith(allowed)]]) == []
    assert leaks(run.secrets, [lambda: [piece for piece in written if piece[0].startswith("socket:")]]) != []
    assert leaks(run.secrets, [lambda: [piece for piece in written if piece[0].startswith(str(run.temp))]]) != []


def traced(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(where to, what) of every call that `strace -y -xx` has seen; of those that name a file, (the call, its name)."""
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            found = re.match(r"(\w+)\((?:\d+<([^>]*)>)?(.*)", line)
            assert found, line
            call, where, rest = found.groups()
            said = b"".join(_unhexed(text) for text in re.findall(r'"([^"]*)"', rest))
            yield (_unhexed(where).decode() if where else call), said


def _unhexed(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")
