"""Task types out of packages on nodes, which are killed, and on other runners, as well as a real package in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.client import Client, Endpoint
from runner.model.event import Kind
from runner.model.result import Status
from tests import venvs
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair
from tests.plugins import install

EXAMPLE = venvs.ROOT / "examples" / "http-check"
SECRET = "hunter2-hunter2"

LASTING = """
    from drivers.base import ProcessSpec
    from drivers.processes import ProcessDriver
    from pathlib import Path

    class LastingSpec(Spec):
        folder: str
        secret: str = ""

    class Lasting(ProcessDriver):
        type = "lasting"
        spec_model = LastingSpec

        async def program(self, ctx, spec):
            script = "echo begun; echo x >> begun; until test -e go; do sleep 0.02; done; echo $SECRET"
            return ProcessSpec(
                argv=["sh", "-c", script], env={"PATH": "/usr/bin:/bin", "SECRET": spec.secret}, cwd=spec.folder
            )

        async def outputs(self, ctx, spec, exit):
            return {"begun": Path(spec.folder, "begun").read_text()}

    class Waiting(SimpleDriver):
        type = "waiting"
        spec_model = LastingSpec

        async def run(self, ctx, spec):
            ctx.log.write("stdout", b"begun\\n")
            Path(spec.folder, "begun").open("a").write("x")
            while not Path(spec.folder, "go").exists():
                await asyncio.sleep(0.02)
            return {"begun": Path(spec.folder, "begun").read_text()}

    class Again(Waiting):
        type = "again"
        capabilities = Capabilities(recovery=Recovery.RERUN)
"""
TYPES = {"lasting": "Lasting", "waiting": "Waiting", "again": "Again"}


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Authorization"] == SECRET else 401)
        self.end_headers()
        self.wfile.write(b"it is ready")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def forwarding(folder: Path, **onprem: Any) -> Iterator[Pair]:
    pair = Pair(folder, **onprem)
    pair.onprem.start()
    pair.cloud.start()
    try:
        pair.until(lambda: pair.has_said("peer_back"))
        yield pair
    finally:
        pair.cloud.remove()
        pair.onprem.remove()


def checks(site: str, folder: Path, **more: object) -> list[dict[str, Any]]:
    (folder / "token").write_text(SECRET)
    login = shell(
        "login",
        f'echo "token=$(cat {folder}/token)" >> "$OUTPUT_FILE"',
        exports=[{"name": "token", "confidential": True}],
    )
    check = {
        "name": "check",
        "type": "http_check",
        "imports": [{"from": "login", "variable": "token"}],
        "spec": {"url": site, "contains": "ready", "headers": {"Authorization": "{{ .login.token }}"}},
        "exports": [{"name": "status", "scope": "global"}, {"name": "body", "scope": "global"}],
        **more,
    }
    return [login, check]


OUTPUTS = {"status": "200", "body": "it is ready"}


@pytest.mark.timeout(180)
def test_a_package_that_is_installed_works_here_on_a_node_and_on_another_runner(tmp_path: Path, site: str) -> None:
    venv = venvs.make(tmp_path / "venv")
    venv.install(EXAMPLE)
    document = tmp_path / "group.json"
    document.write_text(group(checks(site, tmp_path)))
    said = venv.run([venv.runner, "run", "--output", "json", str(document)], tmp_path)
    assert json.loads(said[said.index("{\n") :])["results"]["check"]["outputs"] == OUTPUTS
    assert SECRET not in said
    assert "http_check             runner-http-check 0.1.0" in venv.run([venv.runner, "driver", "ls"], tmp_path)
    assert "url: text, required" in venv.run([venv.runner, "driver", "show", "http_check"], tmp_path)
    port = site.removesuffix("/").rpartition(":")[2]
    done = subprocess.run(
        [venv.runner, "run", "--set", f"port={port}", str(EXAMPLE / "group.yaml")],
        cwd=tmp_path,
        env=venv.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "it answers 401 and not 200" in done.stdout  # which it is told again and again, as its author wrote it

    (tmp_path / "pair").mkdir()
    with forwarding(tmp_path / "pair", command=[venv.runner]) as pair:
        node = [venv.runner, "driver", "ls", "--to", pair.onprem.socket]
        assert "http_check             runner-http-check 0.1.0" in venv.run(node, tmp_path)
        shown = [venv.runner, "driver", "show", "http_check", "--to", pair.onprem.socket]
        assert "url: text, required" in venv.run(shown, tmp_path)
        with Client(Endpoint(target=pair.onprem.socket)) as client:
            id = client.submit(group(checks(site, tmp_path))).id
            for _ in client.watch(id):
                pass
            assert outputs_of(client.result(id)) == OUTPUTS
        # The one that forwards does not have it.
        id = pair.submit(*checks(site, tmp_path, forward=ONPREM))
        result = pair.finished(id)
        assert (result.results["check"].runner, outputs_of(result)) == ("onprem", OUTPUTS)
        assert pair.log(id, "check") == f"{site} answers 200, as it should\n".encode()
        pair.cloud.end()
        pair.onprem.end()
        kept = [path for path in (tmp_path / "pair").rglob("*") if path.is_file()]
        assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []


def outputs_of(result: Any) -> dict[str, str]:
    return {name: value.text for name, value in result.results["check"].outputs.items()}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state", environment=install(tmp_path / "packages", "lasting", LASTING, TYPES))
    node.start()
    yield node
    node.remove()


def lasting(folder: Path, type: str, **more: object) -> dict[str, object]:
    spec = {"folder": str(folder), "secret": "{{ .inputs.secret }}"}
    return {"name": "t", "type": type, "spec": spec, "exports": [{"name": "begun", "scope": "global"}], **more}


INPUTS = {"secret": {"confidential": True, "required": True}}


def begun(client: Client, folder: Path, type: str, **more: object) -> str:
    """The id of a group whose task has begun its work, and has said so."""
    id = client.submit(group([lasting(folder, type, **more)], inputs=INPUTS), inputs={"secret": SECRET}).id
    Pair.until(lambda: (folder / "begun").exists() and b"begun" in printed(client, id))
    return id


def printed(client: Client, id: str) -> bytes:
    return b"".join(chunk.frame.data for chunk in client.logs(id, "t", stream="stdout"))


@pytest.mark.parametrize(
    ("type", "end", "times"),
    [
        ("lasting", ("success", None), "x\n"),
        ("again", ("success", None), "xx"),
        ("waiting", ("errored", "driver_lost"), ""),
    ],
)
def test_a_node_that_is_killed_does_what_a_driver_says(
    node: Node, tmp_path: Path, type: str, end: tuple[str, str | None], times: str
) -> None:
    with Client(Endpoint(target=node.socket)) as client:
        id = begun(client, tmp_path, type)
        node.end()
        node.start()
        (tmp_path / "go").touch()
        Pair.until(lambda: client.result(id).status.terminal)
        task = client.result(id).results["t"]
        assert (task.status, task.reason) == end
        assert {name: value.text for name, value in task.outputs.items()} == ({"begun": times} if times else {})
        if type == "lasting":
            assert printed(client, id) == b"begun\n***\n"


def test_it_is_paused_goes_on_and_is_cancelled(node: Node, tmp_path: Path) -> None:
    with Client(Endpoint(target=node.socket)) as client:
        id = begun(client, tmp_path, "lasting")
        for signal, kind in (("pause", Kind.TASK_PAUSED), ("start", Kind.TASK_RESUMED)):
            assert client.signal(id, "t", signal)
            Pair.until(lambda kind=kind: kind in {event.kind for piece in client.events(id) for event in piece})  # type: ignore[misc]
        client.cancel(id)
        Pair.until(lambda: client.result(id).status.terminal)
        task = client.result(id).results["t"]
        assert (task.status, task.signal) == (Status.ABORTED, 15)


def test_it_is_timed_and_tried_again(node: Node, tmp_path: Path) -> None:
    with Client(Endpoint(target=node.socket)) as client:
        for type in ("lasting", "waiting"):
            more = {"timeout": "0.3s", "retry": {"attempts": 2, "delay": "0.01s"}}
            id = client.submit(group([lasting(tmp_path, type, **more)], inputs=INPUTS), inputs={"secret": SECRET}).id
            Pair.until(lambda id=id: client.result(id).status.terminal)  # type: ignore[misc]
            task = client.result(id).results["t"]
            assert (task.status, task.reason, task.attempts) == (Status.FAILED, "timeout", 2)


def test_one_that_is_broken_where_a_task_goes_is_named_here(tmp_path: Path) -> None:
    environment = install(tmp_path / "packages", "torn", "import no_such_module", {"torn": "Torn"})
    install(
        tmp_path / "packages",
        "sick",
        """
        class Sick(SimpleDriver):
            type = "sick"
            async def fingerprint(self): return Fingerprint(healthy=False, description="its service is down")
            async def run(self, ctx, spec): return {}
        """,
        {"sick": "Sick"},
    )
    with forwarding(tmp_path, environment=environment) as pair:
        id = pair.submit(
            {"name": "torn", "type": "torn", "forward": {"to": "{{ .inputs.where }}"}},
            {"name": "sick", "type": "sick", "forward": {"to": "{{ .inputs.where }}"}},
            inputs={"where": {"default": "onprem"}},
        )
        results = pair.finished(id).results
        torn = "ModuleNotFoundError: No module named 'no_such_module'"
        for name, reason in (("torn", f"plugin torn 1.0: {torn}"), ("sick", "its service is down")):
            assert (results[name].status, results[name].reason) == (Status.ERRORED, "unknown_type")
            assert f"onprem cannot carry out the task type '{name}': {reason}" in (results[name].error or "")
