"""A node over mutual TLS, and with tokens: what a first set-up takes, what is told when it is wrong, and what is followed through the
death of the node."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell
from tests.acceptance.mortal import Node


def files_of(stdout: str) -> list[str]:
    """The options that a client is told to give."""
    return [part for line in stdout.splitlines() if line.startswith("  --") for part in line.split(maxsplit=1)]


@pytest.fixture
def options(runner: Command) -> list[str]:
    """Ada's certificate, of the same authority as the node's."""
    made = runner("certs", "init", "--node", "here", "--host", "127.0.0.1")
    assert made.status == 0, made
    state = runner.folder.parent / "state"
    state.mkdir(mode=0o700)
    (state / "runner.toml").write_text(made.stdout[made.stdout.index("[tls]") :])
    return files_of(runner("certs", "issue", "ada").stdout)


@pytest.fixture
def node(tmp_path: Path, options: list[str]) -> Iterator[Node]:
    node = Node(tmp_path / "state", "127.0.0.1:0")
    node.start()
    yield node
    node.remove()


def test_a_context_with_a_certificate(runner: Command, node: Node, options: list[str]) -> None:
    added = runner("context", "add", "build", node.addresses[1], *options)
    assert added.status == 0, added
    assert runner("info", "--output", "json").json["caller"] == "ada"
    document = runner.write(group([shell("t", "echo over TLS")]))
    done = runner("submit", document, "--follow", "--workspace", ".")
    assert (done.status, "t  | over TLS" in done.stdout) == (0, True)
    id = runner("ls", "--output", "json").json["id"]
    assert runner("get", id, "--context", "build").status == 0
    other = runner("get", id, "--to", node.addresses[1], *files_of(runner("certs", "issue", "bob").stdout))
    assert (other.status, other.stderr) == (2, f"runner: there is no group with the id '{id}'\n")


def test_what_is_wrong_is_told_at_once(runner: Command, node: Node, options: list[str], tmp_path: Path) -> None:
    target = node.addresses[1]
    strange = files_of(runner("certs", "init", "--node", "x", "--dir", str(tmp_path / "strange")).stdout)
    assert strange == []
    other_ca = ["--ca", str(tmp_path / "strange" / "ca.pem")]
    others = files_of(runner("certs", "issue", "ada", "--dir", str(tmp_path / "strange")).stdout)
    for given, said in (
        (other_ca, "its certificate is not trusted"),
        ([*options[:2], "--server-name", "elsewhere"], "its certificate is not trusted: Hostname mismatch"),
        ([], "it speaks TLS there; give the `ca`"),
    ):
        done = runner("info", "--to", target, *given)
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr.startswith(f"runner: {target} does not answer: "), done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    for given, hint in (
        (options[:2], b"it may want a certificate: give one with its key"),
        ([*options[:2], *others[2:]], b"a certificate of its authority, for clients?"),
    ):
        process = runner.start("info", "--to", target, *given, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert hint in process.stderr.readline()


@pytest.mark.timeout(120)
def test_a_node_is_followed_over_the_network_through_its_death(runner: Command, node: Node, options: list[str]) -> None:
    assert runner("context", "add", "build", node.addresses[1], *options).status == 0
    count = "i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); sleep 0.05; done"
    process = runner.start(
        "submit", runner.write(group([shell("t", count)])), "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line in (b"t  | 5\n", b"t  | 20\n"):
            node.end()
            node.start()
    assert process.wait() == 0
    assert [line for line in seen if line.startswith(b"t  | ")] == [b"t  | %d\n" % number for number in range(40)]
    assert all(line.startswith(b"runner: 127.0.0.1:") for line in process.stderr)


def test_a_token(runner: Command, options: list[str], tmp_path: Path) -> None:
    state = tmp_path / "state"
    lines = (state / "runner.toml").read_text().splitlines(keepends=True)
    (state / "runner.toml").write_text("".join(line for line in lines if not line.startswith(("client_ca", "crl"))))
    made = runner("token", "create", "ada", "--state-dir", str(state))
    token = next(word for word in made.stdout.split() if word.startswith("rt_"))
    node = Node(state, "127.0.0.1:0")
    node.start()
    try:
        where = ("--to", node.addresses[1], *options[:2])
        given = runner("info", *where, "--output", "json", environment={"RUNNER_TOKEN": token})
        assert given.json["caller"] == "ada"
        (tmp_path / "token").write_text(f"{token}\n")
        assert runner("info", *where, "--token-file", str(tmp_path / "token")).status == 0
        nobody = runner("info", *where)
        assert (nobody.status, nobody.stdout) == (1, "")
        assert "a token is given by RUNNER_TOKEN or --token-file, a certificate by --certificate and" in nobody.stderr
        wrong = runner("info", *where, environment={"RUNNER_TOKEN": token[:-4] + "AAAA"})
        assert (wrong.status, wrong.stderr.startswith(f"runner: {node.addresses[1]}: ")) == (1, True)
        assert token[:-4] not in wrong.stderr
    finally:
        node.remove()
