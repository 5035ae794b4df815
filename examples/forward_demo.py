"""Two nodes with mutual TLS, one in the cloud and one behind a firewall: a secret that is fetched there is used here and there, and seen
nowhere. In the middle the one behind the firewall is killed. Ends with 0 when everything was as it should be.

The third part of `make demo`, or `python -m examples.forward_demo` where the command `runner` is on PATH.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from examples.stage import Stage, main, until

NAME = "forward_demo.py"
ID = "release-7"
SECRET = "correct-horse-battery-staple"
LOG = [f"admin:*** migrates table {table}" for table in range(1, 7)]


def play(folder: Path) -> list[str]:
    """What was not as it should be."""
    ports = {"cloud-1": _free_port(), "onprem-1": _free_port()}
    stage = Stage(NAME, folder, {"RUNNER_TO": f"unix:{folder}/cloud-1/runner.sock"})
    certificates = str(folder / "certs")
    stage.say(
        "Two nodes that know each other by certificates: cloud-1 may dispatch to onprem-1, and nobody else may anything there."
    )
    stage.run(
        "runner", "certs", "init", "--dir", certificates, "--node", "onprem-1", "--host", "localhost", shown=False
    )
    stage.run(
        "runner", "certs", "issue", "--dir", certificates, "--node", "cloud-1", "--host", "localhost", shown=False
    )
    cloud = _configured(folder, "cloud-1", ports, f'''
[peers.onprem-1]
target = "localhost:{ports["onprem-1"]}"
ca = "{certificates}/ca.pem"
''')  # fmt: skip
    onprem = _configured(folder, "onprem-1", ports, '''
[[rules]]
callers = ["node/cloud-1"]
scopes = ["dispatch"]
types = ["os_exec"]
''')  # fmt: skip
    vault, dead = folder / "vault", folder / "dead"
    vault.write_text(SECRET)
    with stage.service("runner", "serve", "--config", str(cloud)):
        stage.until_there(folder / "cloud-1" / "runner.sock", "the node in the cloud")
        with stage.service("runner", "serve", "--config", str(onprem)) as node:
            submit = ("runner", "submit", "--follow", "--id", ID, "--set", f"vault={vault}", "--set", f"dead={dead}")
            with stage.followed(*submit, "examples/forward.yaml") as lines:
                said = until(lines, "migrates table 3")
                stage.say(
                    "In the middle of the task onprem-1 is killed. Its task goes on, and cloud-1 waits for its word."
                )
                print(f"$ kill -9 {node.pid}", flush=True)
                node.kill()
                node.wait()
                dead.touch()
                with stage.service("runner", "serve", "--config", str(onprem)):
                    said += list(lines)
                    _examine(stage, said)
    for path in (folder / "cloud-1").rglob("*"):
        told = path.is_file() and SECRET.encode() in path.read_bytes()
        stage.expect(not told, f"the secret stands in {path}")
    return stage.faults


def _configured(folder: Path, name: str, ports: dict[str, int], more: str) -> Path:
    """The configuration of a node, in its state directory."""
    state, certificates = folder / name, folder / "certs"
    state.mkdir(mode=0o700)
    file = state / "runner.toml"
    file.write_text(
        f'''name = "{name}"
state_dir = "{state}"
listen = ["unix:{state}/runner.sock", "localhost:{ports[name]}"]
[tls]
certificate = "{certificates}/nodes/{name}.pem"
key = "{certificates}/nodes/{name}.key"
client_ca = "{certificates}/ca.pem"
{more}'''
    )
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _examine(stage: Stage, said: list[str]) -> None:
    shown = [line.split("| ")[-1].strip() for line in said if "migrates table" in line]
    stage.expect(shown == LOG, f"who looked on saw {shown}")
    stage.expect(not any(SECRET in line for line in said), "the secret was shown")
    stage.say("Where each task ran, and what it has printed: the log of onprem-1 is whole, in the cloud as well.")
    result = json.loads(stage.run("runner", "get", ID, "--output", "json", shown=False))
    for name, task in result["results"].items():
        print(f"{name}: {task['status']} on {task['runner']}")
    runners = {name: task["runner"] for name, task in result["results"].items()}
    stage.expect(
        runners == {"password": "onprem-1", "migrate": "onprem-1", "announce": "cloud-1"}, f"they ran on {runners}"
    )
    stage.run("runner", "logs", ID, "migrate")
    stage.run("runner", "logs", ID, "announce")
    starts = sum(task["attempts"] for task in result["results"].values())
    stage.expect(starts == 3, f"three tasks took {starts} attempts")


if __name__ == "__main__":
    sys.exit(
        main(NAME, play, "A secret was used here and there, and seen nowhere; and nothing was lost or done twice.")
    )
