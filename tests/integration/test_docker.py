"""deploy/docker, deploy/compose and deploy/compose/forward: their READMEs word by word in a copy of the checkout, and what becomes of tasks.
The image is built once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.acceptance.command import group, shell
from tests.conftest import docker_base
from tests.readme import commands

ROOT = Path(__file__).parents[2]
SECONDS = 240
NAME = f"runner-test-{os.getpid()}"
NEEDED = ("runner", "drivers", "taskimpl", "cache", "deploy", "examples")
BUILD, TRY = commands(ROOT / "deploy" / "docker" / "README.md")
SET_UP, SUBMIT, TOKEN = commands(ROOT / "deploy" / "compose" / "README.md")
BOTH_UP, FORWARD, FOLLOW, KILL = commands(ROOT / "deploy" / "compose" / "forward" / "README.md")
CONTEXT, FORWARD = FORWARD.split("\n", 1)
BRING = BOTH_UP[BOTH_UP.index("for node") : BOTH_UP.index("done\n") + len("done\n")]
BETWEEN = "deploy/compose/forward"
SECRET = "correct-horse-battery-staple"
LOG = [f"admin:*** migrates table {table}" for table in range(1, 7)]

pytestmark = pytest.mark.timeout(300)


class Shell:
    """Types what a README says, with names and a port that nobody else has, in a copy of the checkout."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        for name in NEEDED:
            shutil.copytree(ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".dockerignore", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.checkout)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        self._meant = {
            "docker build": f"docker build --build-arg BASE={docker_base()}",
            "docker compose": "docker compose" if plugin.returncode == 0 else "docker-compose",
            "runner-node": NAME,
            "localhost:7070": f"localhost:{port}",
            "localhost:7071": f"localhost:{port}",
        }
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "COMPOSE_PROJECT_NAME": NAME,
            "BASE": docker_base(),
            "PORT": str(port),
        }

    def __call__(self, script: str, *, folder: str = ".", stdin: str = "", check: bool = True) -> str:
        with self.start(script, folder=folder) as process:
            said, _ = process.communicate(stdin, timeout=SECONDS)
        assert process.returncode == 0 or not check, f"{script}\n→ {process.returncode}\n{said}"
        return said

    def start(self, script: str, *, folder: str = ".") -> subprocess.Popen[str]:
        for told, meant in self._meant.items():
            script = script.replace(told, meant)
        return subprocess.Popen(
            ["sh", "-euc", script], cwd=self.checkout / folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def until(self, script: str) -> None:
        """It succeeds."""
        while True:
            with self.start(script) as process:
                process.communicate(timeout=SECONDS)
            if process.returncode == 0:
                return
            time.sleep(0.05)


@pytest.fixture(scope="module")
def image(require: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The image, and one container of it that runs."""
    require("docker")
    sh = Shell(tmp_path_factory.mktemp("docker"))
    try:
        sh(BUILD)
        yield sh
    finally:
        sh("docker rm --force runner-node; docker volume rm runner-node; docker image rm runner-node", check=False)


@pytest.fixture
def sh(image: Shell) -> Shell:
    """A container that serves, whatever a former test has done to it."""
    image("docker start runner-node")
    image.until("docker exec runner-node runner info --to local")
    return image


def submit(sh: Shell, **more: Any) -> str:
    """The id of a group of one task that has begun, and waits for a file."""
    sh("docker exec runner-node rm -f /tmp/go /tmp/begun")
    waits = "echo begun >> /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.02; done"
    document = group([shell("it", waits, **more)])
    id = sh("docker exec --interactive runner-node runner submit --to local -", stdin=document).strip()
    sh.until("docker exec runner-node test -s /tmp/begun")
    return id


def result(sh: Shell, id: str) -> dict[str, Any]:
    """What has become of its task."""
    sh(f"docker exec runner-node runner watch --to local {id}", check=False)
    said = sh(f"docker exec runner-node runner get --to local --output json {id}")
    task: dict[str, Any] = json.loads(said)["results"]["it"]
    return task


def test_the_readme(sh: Shell) -> None:
    said = sh(TRY)
    assert "releasing app-1.4.2-linux" in said
    assert "success  " in said
    assert '"action": "node_serving"' in said
    once = sh("docker run --rm --interactive runner-node run - < examples/diamond.yaml")
    assert "diamond: success" in once


def test_it_is_not_root_and_cannot_change_the_image(sh: Shell) -> None:
    assert sh("docker exec runner-node id --user") == "10001\n"
    assert "Read-only file system" in sh("docker exec runner-node touch /opt/runner/x", check=False)


def test_it_is_healthy_while_it_serves(sh: Shell) -> None:
    health = json.loads(sh("docker inspect --format '{{json .Config.Healthcheck}}' runner-node"))
    kind, *asks = health["Test"]
    assert kind == "CMD"
    sh(f"docker exec runner-node {' '.join(asks)}")


def test_a_stop_waits_for_what_runs(sh: Shell) -> None:
    id = submit(sh)
    with sh.start("docker stop runner-node") as stopping:
        sh.until("docker logs runner-node 2>&1 | tail -1 | grep draining")
        sh("docker exec runner-node touch /tmp/go")
        stopping.communicate(timeout=SECONDS)
    assert sh("docker inspect --format '{{.State.ExitCode}}' runner-node") == "0\n"
    sh("docker start runner-node")
    task = result(sh, id)
    assert (task["status"], task["attempts"]) == ("success", 1)


def test_what_is_cut_off_is_told_or_tried_again(sh: Shell) -> None:
    id = submit(sh)
    sh("docker kill runner-node; docker start runner-node")
    assert result(sh, id)["reason"] == "supervisor_lost"
    id = submit(sh, retry={"attempts": 2, "delay": 0, "on": ["supervisor_lost"]})
    sh("docker kill runner-node; docker start runner-node")
    sh.until("docker exec runner-node test -s /tmp/begun")
    sh("docker exec runner-node touch /tmp/go")
    task = result(sh, id)
    assert (task["status"], task["attempts"]) == ("success", 2)


def test_a_reload(sh: Shell) -> None:
    sh("docker kill --signal HUP runner-node")
    sh.until("docker logs runner-node 2>&1 | tail -1 | grep 'the configuration was reloaded'")


def test_what_a_killed_supervisor_leaves_is_reaped(sh: Shell) -> None:
    id = submit(sh)
    supervisor = "$(grep --files-with-matches supervisor/[_] /proc/[0-9]*/cmdline | cut -d/ -f3)"
    sh(f"docker exec runner-node sh -c 'kill -9 {supervisor}'")
    assert result(sh, id)["reason"] == "supervisor_lost"
    sh.until("! docker exec runner-node sh -c 'grep zombie /proc/[0-9]*/status'")


def test_compose(image: Shell) -> None:
    where = "deploy/compose"
    try:
        image("docker compose config", folder=where)
        image(SET_UP, folder=where)
        assert "releasing app-1.4.2-linux" in image(SUBMIT, folder=where)
        assert "you are   ada, and may read, submit" in image(TOKEN, folder=where)
        refused = image("runner info --to localhost:7070 --ca ca.pem", folder=where, check=False)
        assert "certificate" in refused
        image("docker compose stop", folder=where)
    finally:
        image("docker compose down --volumes --rmi local", folder=where, check=False)


@pytest.fixture(scope="module")
def both(image: Shell) -> Iterator[Shell]:
    """A node in the cloud and one behind a firewall."""
    try:
        image("docker compose config", folder=BETWEEN)
        image(BOTH_UP, folder=BETWEEN)
        image.until(f"cd {BETWEEN}; docker compose exec -T cloud runner info --to local | grep 'onprem-1  there'")
        image(CONTEXT, folder=BETWEEN)
        yield image
    finally:
        image("docker compose down --volumes --rmi local", folder=BETWEEN, check=False)


@contextmanager
def followed(sh: Shell, script: str) -> Iterator[IO[str]]:
    """What a command that follows a group shows; to be read to its end, and the command ends well."""
    with sh.start(script, folder=BETWEEN) as process:
        assert process.stdout
        try:
            yield process.stdout
            assert process.wait(SECONDS) == 0
        finally:
            process.terminate()


def until(lines: IO[str], text: str) -> str:
    """What is shown up to a line with this text, that line included."""
    said = ""
    while text not in said:
        line = lines.readline()
        assert line, f"{text!r} was not shown:\n{said}"
        said += line
    return said


def last(sh: Shell) -> dict[str, dict[str, Any]]:
    """What has become of the tasks of the last group."""
    got = json.loads(sh("runner get --context cloud --output json @last", folder=BETWEEN))
    results: dict[str, dict[str, Any]] = got["results"]
    return results


def test_a_secret_behind_a_firewall_is_used_and_not_seen(both: Shell) -> None:
    said = both(FORWARD, folder=BETWEEN)
    assert "peers     onprem-1  there" in said
    assert [line.split("| ")[1] for line in said.splitlines() if "migrates" in line] == LOG
    assert "signed with ***, 6 tables were migrated" in said
    assert SECRET not in said
    assert {name: (task["runner"], task["attempts"]) for name, task in last(both).items()} == {
        "password": ("onprem-1", 1), "migrate": ("onprem-1", 1), "announce": ("cloud-1", 1),
    }  # fmt: skip
    search = f"grep --recursive --files-with-matches {SECRET} /var/lib/runner || [ $? = 1 ]"
    assert both(f"docker compose exec -T onprem sh -c '{search}'", folder=BETWEEN) == "/var/lib/runner/home/vault\n"
    assert both(f"docker compose exec -T cloud sh -c '{search}'", folder=BETWEEN) == ""


@pytest.mark.parametrize(
    ("node", "published", "networks"),
    [("cloud", {"7070/tcp"}, {"outside", "between"}), ("onprem", set(), {"between", "inside"})],
)
def test_each_node_has_its_own_keys_and_networks(
    both: Shell, node: str, published: set[str], networks: set[str]
) -> None:
    files = both(f"docker compose exec -T {node} find /var/lib/runner/certs -type f", folder=BETWEEN).split()
    assert {Path(file).name for file in files} == {"ca.pem", "crl.pem", f"{node}-1.pem", f"{node}-1.key"}
    [told] = json.loads(both(f"docker inspect $(docker compose ps --quiet {node})", folder=BETWEEN))
    assert set(told["HostConfig"]["PortBindings"] or {}) == published
    assert set(told["NetworkSettings"]["Networks"]) == {f"{NAME}_{network}" for network in networks}


def test_a_killed_container_takes_its_task_with_it_and_it_is_tried_again(both: Shell) -> None:
    with followed(both, FOLLOW) as lines:
        said = until(lines, "migrates table 3")
        both(KILL, folder=BETWEEN)
        said += lines.read()
    shown = [line.split("| ")[1] for line in said.splitlines() if "| admin" in line]
    assert shown == LOG[:3] + LOG
    assert "retry.on` lists supervisor_lost; tried again" in said
    assert SECRET not in said
    migrate = last(both)["migrate"]
    assert (migrate["status"], migrate["attempts"], migrate["runner"]) == ("success", 2, "onprem-1")


def test_a_stop_waits_for_what_was_forwarded_and_it_is_told_later(both: Shell) -> None:
    with followed(both, FOLLOW.replace("home/go", "home/stopped")) as lines:
        said = until(lines, "migrates table 3")
        with both.start("docker compose stop onprem", folder=BETWEEN) as stopping:
            said += until(lines, "onprem-1 cannot be reached")
            both("docker compose exec -T onprem touch stopped", folder=BETWEEN)
            stopping.communicate(timeout=SECONDS)
        assert (
            both(
                "docker inspect --format '{{.State.ExitCode}}' $(docker compose ps --all --quiet onprem)",
                folder=BETWEEN,
            )
            == "0\n"
        )
        both("docker compose up --detach onprem", folder=BETWEEN)
        said += lines.read()
    assert [line.split("| ")[1] for line in said.splitlines() if "| admin" in line] == LOG
    migrate = last(both)["migrate"]
    assert (migrate["status"], migrate["attempts"], migrate["runner"]) == ("success", 1, "onprem-1")


def test_what_was_revoked_and_renewed_is_brought_to_both(both: Shell) -> None:
    both("runner certs issue --dir certs eve; cp certs/clients/eve.* .", folder=BETWEEN)
    eve = "runner info --to localhost:7071 --ca certs/ca.pem --certificate eve.pem --key eve.key"
    assert "you are   eve" in both(eve, folder=BETWEEN)
    both("runner certs revoke --dir certs eve", folder=BETWEEN)
    both("runner certs renew --dir certs cloud-1 onprem-1", folder=BETWEEN)
    both(BRING, folder=BETWEEN)
    both.until(f"cd {BETWEEN}; {eve} 2>&1 | grep revoked")
    for node in ("cloud", "onprem"):
        certificate = f"certs/nodes/{node}-1.pem"
        brought = both(f"docker compose exec -T {node} cat /var/lib/runner/{certificate}", folder=BETWEEN)
        assert brought == (both.checkout / BETWEEN / certificate).read_text()
        both(f"docker compose exec -T {node} sh -c 'kill -HUP 1'", folder=BETWEEN)
        both.until(f"cd {BETWEEN}; docker compose logs {node} | grep 'the configuration was reloaded'")
    assert "announce -- success" in both(FORWARD, folder=BETWEEN)
