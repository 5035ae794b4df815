"""The commands that speak with a node, and a node that is killed while they do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import hostile
from tests.acceptance.command import Command, Done, group, shell
from tests.acceptance.mortal import Node

SAYS = "echo out; echo err >&2; printf tail; echo value=42 >> $OUTPUT_FILE"
TASKS = [
    shell("say", SAYS, exports=[{"name": "value", "scope": "global"}]),
    shell("no", "exit 3", depends_on=["say"], retry={"attempts": 2, "delay": 0}),
    shell("never", "true", depends_on=["no"]),
]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state", "127.0.0.1:0")
    node.start()
    yield node
    node.remove()


@pytest.fixture
def ask(runner: Command, node: Node) -> Ask:
    return Ask(runner, node)


class Ask:
    """The command, told where the node is."""

    def __init__(self, runner: Command, node: Node) -> None:
        self.runner = runner
        self.node = node
        self.environment = {"RUNNER_TO": node.socket}

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Done:
        return self.runner(*arguments, stdin=stdin, environment=self.environment)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return self.runner.start(*arguments, environment=self.environment, stdout=pipe, stderr=pipe)


def timeless(text: str) -> str:
    """Without what differs between any two runs."""
    return re.sub(r"run \w+", "run ID", re.sub(r"\d[\d.]* (ms|s)\b", "TIME", text))


def test_what_is_followed_looks_like_what_is_run_here(ask: Ask) -> None:
    document = ask.runner.write(group(TASKS, name="demo"))
    here = ask.runner("run", document, "--id", "same")
    there = ask("submit", document, "--follow", "--id", "same")
    assert (there.status, timeless(there.stdout)) == (here.status, timeless(here.stdout)) == (1, timeless(here.stdout))
    assert "say    | tail\n" in there.stdout
    assert there.stderr == ""


def test_the_result_is_the_same_as_well(ask: Ask) -> None:
    document = ask.runner.write(group(TASKS, name="demo"))
    here = ask.runner("run", document, "--id", "same", "--output", "json").json
    there = ask("submit", document, "--follow", "--id", "same", "--output", "json").json
    assert ask("get", "same", "--output", "json").json == there
    for result in (here, there):
        for part in (result, *result["results"].values()):
            for name in ("started_at", "finished_at", "runner"):
                part.pop(name, None)
    assert there == here


@pytest.mark.timeout(120)
def test_a_node_that_is_killed_again_and_again_is_followed_to_the_end(ask: Ask) -> None:
    count = "i=0; while [ $i -lt 40 ]; do echo $i; echo e$i >&2; i=$((i+1)); sleep 0.05; done; printf end"
    document = ask.runner.write(group([shell("one", count), shell("two", count, depends_on=["one"])]))
    process = ask.start("submit", document, "--follow")
    assert process.stdout is not None
    assert process.stderr is not None
    seen = []
    for line in process.stdout:
        seen.append(line.decode())
        if line in (b"one  | 5\n", b"one  | e30\n", b"two  | 9\n"):
            ask.node.end()
            ask.node.start()
    assert process.wait() == 0
    assert all(line.startswith(b"runner: unix:") for line in process.stderr), "nothing of gRPC's own words"
    for task in ("one", "two"):
        said = [line.removeprefix(f"{task}  | ").rstrip() for line in seen if line.startswith(f"{task}  | ")]
        assert [text for text in said if text.isdigit()] == [str(number) for number in range(40)]
        assert [text for text in said if text.startswith("e")] == [*(f"e{number}" for number in range(40)), "end"]
        assert next(line for line in seen if line.startswith(f"{task} -- ")) == f"{task} -- started\n"
        assert sum(line.startswith(f"{task} -- success") for line in seen) == 1


@pytest.mark.timeout(120)
def test_a_log_is_followed_through_the_death_of_the_node(ask: Ask) -> None:
    count = "i=0; while [ $i -lt 40 ]; do echo $i; echo e$i >&2; i=$((i+1)); sleep 0.05; done"
    id = ask("submit", ask.runner.write(group([shell("one", count)]))).stdout.strip()
    process = ask.start("logs", id, "one", "-f", "--stdout", "--offset", "2")
    assert process.stdout is not None
    seen = b""
    for line in process.stdout:
        seen += line
        if line in (b"5\n", b"20\n"):
            ask.node.end()
            ask.node.start()
    assert process.wait() == 0
    assert seen.split() == [str(number).encode() for number in range(1, 40)]


def test_ctrl_c_cancels_and_a_second_one_does_not_wait(ask: Ask) -> None:
    clean = shell("clean", "echo cleaning; sleep 1000", depends_on=["work"], when="always")
    document = ask.runner.write(
        group([shell("work", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"), clean])
    )
    process = ask.start("submit", document, "--follow", "--id", "one")
    assert process.stdout is not None
    assert any(line == b"work   | up\n" for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    assert any(line == b"clean  | cleaning\n" for line in process.stdout)
    assert process.stderr is not None
    assert any(b"once more ends" in line for line in process.stderr)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert b"aborted (the group was cancelled)" in out


def test_the_third_one_leaves_and_the_node_goes_on_ending_it(ask: Ask, require: Callable[[str], None]) -> None:
    """A tracer that does not look delays the end of what it traces by five seconds, which nobody waits for here."""
    require("ptrace")
    stubborn = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    process = ask.start("submit", ask.runner.write(group([shell("work", stubborn)])), "--follow", "--id", "two")
    assert process.stdout is not None
    assert process.stderr is not None
    pid = next(int(line.split(b"| ")[1]) for line in process.stdout if line.startswith(b"work  | "))
    tracer = hostile.idle_tracer(pid)
    try:
        for words in (b"once more ends", b"once more leaves"):
            os.killpg(process.pid, signal.SIGINT)
            assert any(words in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
    finally:
        tracer.kill()
        tracer.wait()
    assert ask("watch", "two").status == 1


def test_a_workspace_goes_along(ask: Ask) -> None:
    folder = ask.runner.folder / "sources"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "sub" / "run.sh").chmod(0o755)
    (folder / "big").write_bytes(os.urandom(3_000_000))
    (folder / "link").symlink_to("sub/run.sh")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "left.o").touch()
    os.mkfifo(folder / "pipe")
    command = "ls -A; ./link; stat -c %a sub/run.sh; cksum < big"
    document = ask.runner.write(group([shell("t", command)]))
    done = ask("submit", document, "--follow", "--workspace", "sources", "--exclude", "*.o")
    assert done.status == 0, done
    told = subprocess.run(["cksum"], input=(folder / "big").read_bytes(), capture_output=True, check=True).stdout
    said = [line.removeprefix("t  | ") for line in done.stdout.splitlines() if line.startswith("t  | ")]
    assert said == ["big", "link", "sub", "ran", "755", told.decode().strip()]
    assert "out is not in the workspace: it is a link that leads out of it" in done.stderr
    assert "pipe is not in the workspace: it is no file, folder or link" in done.stderr


def test_a_submission_may_be_repeated(ask: Ask) -> None:
    document = ask.runner.write(group([shell("t", "true")], id="mine"))
    first = ask("submit", document, "--output", "json").json
    repeated = ask("submit", document, "--output", "json")
    assert (first["id"], first["existed"], repeated.json["existed"]) == ("mine", False, True)
    said = "runner: mine was submitted before: it is the same group, and nothing of it begins anew; another --id makes another one\n"
    assert repeated.stderr == said
    assert ask("submit", document, "--follow").stderr == said
    other = ask("submit", ask.runner.write(group([shell("t", "false")], id="mine")))
    assert (other.status, other.stdout) == (2, "")
    assert "different content" in other.stderr


def test_lists_and_details_for_programs(ask: Ask) -> None:
    document = ask.runner.write(group([shell("t", "echo hello; exit 1")], name="hi"))
    for id, tag in (("a1", "x"), ("a2", "y"), ("b1", "x")):
        assert ask("submit", document, "--id", id, "--label", f"tag={tag}", "--follow").status == 1
    rows = [json.loads(line) for line in ask("ls", "--output", "json", "--label", "tag=x").stdout.splitlines()]
    assert [(row["id"], row["status"], row["labels"]) for row in rows] == [
        ("b1", "failed", {"tag": "x"}),
        ("a1", "failed", {"tag": "x"}),
    ]
    nothing = ask("ls", "--status", "running")
    assert (nothing.status, nothing.stdout) == (0, "")
    assert "no group of this node that you may see is like that" in nothing.stderr
    assert ask("ls", "--status", "running", "--output", "json").stderr == ""
    assert len(ask("ls", "--label", "tag").stdout.splitlines()) == 4
    assert ask("ls", "--label", "tagg").stdout == ""
    assert ask("ls", "--limit", "1", "--since", "1h").stdout.splitlines()[1].split()[0] == "b1"
    events = [json.loads(line) for line in ask("events", "a1", "--output", "json").stdout.splitlines()]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["kind"], events[-1]["status"]) == ("group_finished", "failed")
    (piece,) = [json.loads(line) for line in ask("logs", "a1", "t", "--output", "json").stdout.splitlines()]
    assert (piece["text"], piece["stream"], piece["offset"]) == ("hello\n", "stdout", 0)
    happenings = [json.loads(line) for line in ask("watch", "a1", "--output", "json").stdout.splitlines()]
    assert sum("log" in happening for happening in happenings) == 1
    assert (
        ask("logs", "a1", "t", "--attempt", "2").stderr == "runner: the task 't' has no attempt 2: the last one was 1\n"
    )
    assert ask("info", "--output", "json").json["caller"] == "local"
    assert ask("get", "a").status == 2
    assert "several groups begin with 'a': a2, a1" in ask("get", "a").stderr
    assert ask("get", "b", "--output", "json").json == ask("get", "@last", "--output", "json").json


def test_signals_and_cancels(ask: Ask) -> None:
    goes_on = ask.runner.folder / "may-end"
    script = f"trap '' TERM; echo up; while [ ! -e {goes_on} ]; do sleep 0.05; done"
    id = ask("submit", ask.runner.write(group([shell("t", script)]))).stdout.strip()
    process = ask.start("logs", id, "t", "-f")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert ask("signal", id, "t", "pause").stdout == "t is paused\n"
    assert ask("signal", id, "t", "start").stdout == "t goes on\n"
    assert ask("signal", id, "nobody", "start").status == 2
    assert "is being cancelled" in ask("cancel", id).stdout
    goes_on.touch()
    assert process.wait() == 0
    assert ask("watch", id).status == 1
    assert ask("signal", id, "t", "pause").stdout == "t does not run\n"
    assert ask("cancel", id, "--output", "json").json == {"id": id, "status": "aborted"}


def test_documents_that_are_refused_and_secrets_that_would_be_told(ask: Ask) -> None:
    wrong = ask.runner.write(group([{"name": "t", "type": "no_such", "spec": {}}], inputs={"password": {}}))
    done = ask("submit", wrong, "--set", "password=x")
    assert (done.status, done.stdout) == (2, "")
    assert "group.yaml" in done.stderr
    assert "no_such" in done.stderr
    done = ask("submit", wrong, "--set-secret", "password=env:PATH")
    assert (done.status, "confidential: true" in done.stderr) == (2, True)
    many = ask.runner.write(group([{"name": f"t{number}", "type": "no_such"} for number in range(80)]))
    assert ask("submit", many).stderr.count("no_such") == 80, "an error has room for some, and all are told"


def test_a_node_that_cannot_be_reached_is_told_with_what_to_do(runner: Command, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        process = runner.start("ls", "--to", f"127.0.0.1:{port}", stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        process.kill()
    assert said == (
        f"runner: 127.0.0.1:{port} does not answer: the connection is refused; does a node listen there? (trying again)\n"
    )
    process = runner.start("ls", "--to", f"unix:{tmp_path}/none.sock", stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"there is no such socket; start a node with `runner serve`" in process.stderr.readline()
    process.kill()
    instead = "RUNNER_TO names the node that is asked; --here asks what `runner run` has kept on this machine"
    for command, lines in (("ls", [f"runner: {instead}\n"]), ("info", [])):
        there = {"RUNNER_TO": f"unix:{tmp_path}/none.sock"}
        process = runner.start(command, stderr=subprocess.PIPE, environment=there)
        assert process.stderr is not None
        assert [process.stderr.readline().decode() for _ in lines] == lines
        assert b"there is no such socket" in process.stderr.readline()
        process.kill()
    for target in ("nowhere", "host:port", "::1:80", "unix:"):
        done = runner("ls", "--to", target)
        assert (done.status, done.stdout) == (2, "")
        assert "expected" in done.stderr or "port" in done.stderr or "brackets" in done.stderr
    done = runner("submit", runner.write(group([shell("t", "true")])))
    assert (done.status, "no node is named" in done.stderr) == (2, True)


def test_contexts_for_programs(runner: Command) -> None:
    def told(*arguments: str) -> object:
        done = runner("context", *arguments, "--output", "json")
        assert (done.status, done.stderr) == (0, "")
        return done.json

    build = {"name": "build", "target": "build.example:7070", "current": True}
    assert told("add", "build", "build.example:7070") == build
    lab = {"name": "lab", "target": "lab.example:7070", "current": False}
    assert told("add", "lab", "lab.example:7070") == lab
    assert told("use", "lab") == {**lab, "current": True}
    assert told("use", "--none") is None
    assert told("rm", "build") == {"removed": "build"}
    assert told("ls") == lab


def test_a_context_names_a_node(ask: Ask) -> None:
    runner = ask.runner
    added = runner("context", "add", "build", ask.node.addresses[1], "--token", "-", stdin=b"rt_wrong\n")
    assert added.status == 0, added
    assert runner("context", "add", "socket", ask.node.socket).status == 0
    assert runner("context", "ls").stdout == f"* build   {ask.node.addresses[1]}\n  socket  {ask.node.socket}\n"
    done = runner("info")
    assert done.status == 1
    assert f"runner: {ask.node.addresses[1]}: " in done.stderr
    assert runner("context", "use", "socket").status == 0
    assert runner("info", "--output", "json").json["caller"] == "local"
    assert runner("info", "--context", "build").status == 1
    assert runner("info", environment={"RUNNER_CONTEXT": "build"}).status == 1
    assert runner("info", "--context", "bild").stderr.startswith(
        "runner: there is no context 'bild' (did you mean 'build'?)"
    )
    here = runner("ls", "--here")
    assert (here.status, here.stdout) == (0, "")
    assert "no run is kept here; what a node has is listed with --to or a context" in here.stderr
    assert "no run that is kept here is like that" in runner("ls", "--here", "--label", "a").stderr
    wrong = runner("ls", "--to", "http://10.0.0.5:8443")
    assert (wrong.status, wrong.stdout) == (2, "")
    assert "without http:// and a path, e.g. 10.0.0.5:8443;" in wrong.stderr
    assert runner("context", "rm", "socket").status == 0
    assert runner("submit", "-").status == 2
