"""deploy/docker and deploy/compose: their READMEs word by word in a copy of the checkout, and what becomes of tasks. The image is
built once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
