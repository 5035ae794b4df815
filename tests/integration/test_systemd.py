"""deploy/systemd on a machine that systemd has booted: its README word by word, and what becomes of tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.machine import Machine, booted
from tests.readme import commands

ROOT = Path(__file__).parents[2]
README = ROOT / "deploy" / "systemd" / "README.md"
INSTALL, TRY, OTHERS, ASK, UPGRADE, SUDO = commands(README)
TO = "--to unix:/var/lib/runner/runner.sock"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def bare(require: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    require("systemd")
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        machine.run(INSTALL, folder=ROOT, network=True)
        yield machine


@pytest.fixture
def machine(bare: Machine) -> Machine:
    """One that serves, whatever a former test has done to it."""
    bare.run("systemctl reset-failed; systemctl start runner")
    return bare


def submit(machine: Machine, command: str = "true", **more: Any) -> str:
    """The id of a group of one task that has begun, and waits for a file before it does what it is to do."""
    machine.run("rm -f /tmp/go /tmp/begun")
    waits = f"echo $$ >> /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.02; done; {command}"
    task = {"name": "it", "type": "os_exec", "spec": {"command": waits}, **more}
    document = json.dumps({"taskGroup": [task]})
    *_, id = machine.run(f"runner submit {TO} - <<'END'\n{document}\nEND").splitlines()
    machine.until("test -s /tmp/begun")
    return id


def finish(machine: Machine, id: str) -> Any:
    """Let its task go on; what has become of it."""
    machine.run(f"touch /tmp/go; runner watch {TO} {id}", check=False)
    return json.loads(machine.run(f"runner get {TO} {id} --output json"))["results"]["it"]


def shown(machine: Machine, unit: str, what: str) -> str:
    return machine.run(f"systemctl show --property {what} --value {unit}").strip()


def begun(machine: Machine) -> list[int]:
    """The processes that were started for the task."""
    return [int(line) for line in machine.run("cat /tmp/begun").splitlines()]


def succeeded_at_once(machine: Machine, id: str) -> None:
    result = finish(machine, id)
    assert (result["status"], result["attempts"]) == ("success", 1)
    assert len(begun(machine)) == 1


def test_the_units_have_no_fault(bare: Machine) -> None:
    assert bare.run("systemd-analyze verify runner.service runner-supervisor.service") == ""


def test_the_readme(machine: Machine) -> None:
    tried = machine.run(TRY, folder=ROOT)
    assert "releasing app-1.4.2-linux" in tried
    assert 'Status: "serves unix:/var/lib/runner/runner.sock"' in tried
    id = submit(machine)
    machine.run(OTHERS, folder=ROOT)
    assert "you are   ada, and may cancel, read, remove, submit" in machine.run(ASK)
    supervisor = shown(machine, "runner-supervisor", "MainPID")
    machine.run(UPGRADE, folder=ROOT, network=True)
    assert shown(machine, "runner-supervisor", "MainPID") == supervisor
    succeeded_at_once(machine, id)


def test_tasks_are_in_control_groups_of_the_supervisor(machine: Machine) -> None:
    id = submit(machine)
    (pid,) = begun(machine)
    group = machine.until(f"grep supervisor.service/runner- /proc/{pid}/cgroup")  # soon after its start
    assert group.startswith("0::/system.slice/runner-supervisor.service/runner-")
    succeeded_at_once(machine, id)


def test_a_restart_leaves_tasks_alone(machine: Machine) -> None:
    id = submit(machine)
    machine.run("systemctl restart runner")
    succeeded_at_once(machine, id)


def test_between_two_nodes_tasks_go_on(machine: Machine) -> None:
    id = submit(machine, "touch /tmp/done")
    machine.run("systemctl stop runner; rm -f /tmp/done; touch /tmp/go")
    machine.until("test -e /tmp/done")
    machine.run("systemctl start runner")
    succeeded_at_once(machine, id)


def test_a_node_that_dies_is_started_again(machine: Machine) -> None:
    id = submit(machine)
    former = shown(machine, "runner", "MainPID")
    machine.run("systemctl kill --signal KILL --kill-whom main runner")
    machine.until(f"systemctl is-active runner && ! systemctl show --property MainPID runner | grep -w {former}")
    succeeded_at_once(machine, id)


def test_a_node_that_hangs_is_started_again(machine: Machine) -> None:
    id = submit(machine)
    machine.run(
        "mkdir -p /run/systemd/system/runner.service.d;"
        "printf '[Service]\nWatchdogSec=1\n' > /run/systemd/system/runner.service.d/test.conf;"
        "systemctl daemon-reload; systemctl restart runner"
    )
    former = shown(machine, "runner", "MainPID")
    machine.run("systemctl kill --signal STOP --kill-whom main runner")
    machine.until(f"systemctl is-active runner && ! systemctl show --property MainPID runner | grep -w {former}")
    machine.run("rm /run/systemd/system/runner.service.d/test.conf; systemctl daemon-reload; systemctl restart runner")
    succeeded_at_once(machine, id)


def test_a_supervisor_that_dies(machine: Machine) -> None:
    id = submit(machine)
    former = shown(machine, "runner-supervisor", "MainPID")
    machine.run("systemctl kill --signal KILL --kill-whom main runner-supervisor")
    machine.until(f"! systemctl show --property MainPID runner-supervisor | grep -w -e {former} -e 0")
    machine.until("systemctl is-active runner-supervisor && systemctl is-active runner")
    result = finish(machine, id)
    assert (result["status"], result["reason"]) == ("errored", "supervisor_lost")
    # And the node uses the new one, and has none of its own any more.
    test_tasks_are_in_control_groups_of_the_supervisor(machine)
    processes = machine.run("cat /sys/fs/cgroup/system.slice/runner.service/cgroup.procs").split()
    assert processes == [shown(machine, "runner", "MainPID")]


def test_the_end_of_the_supervisor_is_that_of_all(machine: Machine) -> None:
    id = submit(machine)
    (pid,) = begun(machine)
    machine.run("systemctl stop runner-supervisor")
    assert not Path(f"/proc/{machine.init}/root/proc/{pid}").exists()
    assert machine.run("systemctl is-active runner", check=False) == "inactive\n"
    machine.run("systemctl start runner")
    assert finish(machine, id)["reason"] == "supervisor_lost"


def test_a_reload(machine: Machine) -> None:
    before = machine.run("cat /etc/runner/runner.toml 2>/dev/null || true")
    machine.run("mkdir -p /etc/runner; sed -i '1i labels = {site = \"eu\"}' /etc/runner/runner.toml")
    machine.run("systemctl reload runner")
    machine.until(f"runner info {TO} | grep -w site")
    machine.run("echo nonsense >> /etc/runner/runner.toml; systemctl reload runner")
    machine.until("systemctl show --property StatusText runner | grep 'the last reload was refused'")
    machine.run(f"cat > /etc/runner/runner.toml <<'END'\n{before}END")
    machine.run("systemctl reload runner")
    machine.until("! systemctl show --property StatusText runner | grep refused")


def test_the_fence_and_how_to_take_it_away(machine: Machine) -> None:
    machine.run("install --mode 4755 /usr/bin/id /tmp/id")  # a program that makes its callers root
    looks = "/tmp/id --user > /tmp/who"
    runner = machine.run("id --user runner")
    succeeded_at_once(machine, submit(machine, looks))
    assert machine.run("cat /tmp/who") == runner
    machine.run(SUDO, folder=ROOT)
    succeeded_at_once(machine, submit(machine, looks))
    assert machine.run("cat /tmp/who") == "0\n"
