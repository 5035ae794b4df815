"""`runner serve` as a service: its start, reloads, its end, and what the next one finds."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from runner.config import load_settings
from runner.process.supervisor import wire
from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub
from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import SECONDS, Node, serving, submit, watched


@pytest.fixture
def state(runner: Command) -> Iterator[Path]:
    """The state directory; what runs of it at the end of the test is ended with its supervisor."""
    folder = runner.folder.parent / "state"
    yield folder
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as supervisor:
        try:
            supervisor.connect(str(folder / "supervisor.sock"))
        except OSError:
            return
        pid, _, _ = struct.unpack("3i", supervisor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGTERM)


def test_from_its_start_to_its_end(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state)) as node:
        assert node.address == f"unix:{state}/runner.sock"
        with node.service() as service:
            assert service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS).name == os.uname().nodename
        node.process.send_signal(signal.SIGTERM)
        assert node.told()["STOPPING"] == "1"
        assert node.process.wait(SECONDS) == 0
        assert [line["action"] for line in node.said()] == [
            "node_starting",
            "node_serving",
            "draining",
            "node_ended",
        ]
    assert not (state / "runner.sock").exists()
    temp = load_settings({}, state_dir=state).temp_dir(state)
    assert (temp.parent.is_dir(), temp.exists()) == (True, False)


def test_for_people_it_speaks_text(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state), "--log-format", "text", "--listen", "127.0.0.1:0") as node:
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(SECONDS) == 0
        lines = node.log.read_text().splitlines()
        assert "info: listens on 127.0.0.1:" in lines[1]


CONFIGURATION = """
labels = {site = "eu"}
log_level = "info"
[[rules]]
callers = ["*"]
scopes = ["submit", "read"]
"""


def labels_of(node: Node) -> dict[str, str]:
    with node.service() as service:
        return dict(service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS).labels)


def test_reloads(runner: Command, state: Path) -> None:
    file = runner.folder / runner.write(CONFIGURATION, "runner.toml")
    with serving(runner, "--config", str(file), "--state-dir", str(state)) as node:
        assert labels_of(node) == {"site": "eu"}

        runner.write(f"{CONFIGURATION}user = 1", "runner.toml")
        assert "the last reload was refused" in node.reload()["STATUS"]
        assert node.until_said("configuration_fault")["message"] == (
            f"{file}:7:1: rules[0].user: unknown key (did you mean 'users'?)"
        )
        assert labels_of(node) == {"site": "eu"}

        runner.write("not even TOML", "runner.toml")
        node.reload()
        file.unlink()
        node.reload()
        assert node.until_said("reload_refused", 3)["level"] == "error"
        assert labels_of(node) == {"site": "eu"}

        runner.write(CONFIGURATION.replace('"eu"', '"us"') + "[limits]\nworkspace = 5\nstreams = 1", "runner.toml")
        assert "refused" not in node.reload()["STATUS"]
        assert node.until_said("reloaded")["changed"] == ["labels", "limits.streams"]
        node.reload()
        assert "changed" not in node.until_said("reloaded", 2)
        assert node.until_said("reload_incomplete")["keys"] == ["limits.workspace"]
        assert labels_of(node) == {"site": "us"}

        runner.write(
            f"{CONFIGURATION}\n[limits]\nstreams = 1".replace("log_level", "drain = 7\nlog_level"), "runner.toml"
        )
        node.reload()
        assert node.end() == 0
        assert [line["seconds"] for line in node.said() if line["action"] == "draining"] == [7.0]


def test_a_file_that_is_gone_takes_no_rule_with_it(runner: Command, state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "runner.toml").write_text(CONFIGURATION)
    with serving(runner, "--state-dir", str(state), "--listen", "127.0.0.1:0") as node:
        (state / "runner.toml").unlink()
        assert "the last reload was refused" in node.reload()["STATUS"]
        assert "is not there any more" in node.until_said("configuration_fault")["message"]


def test_a_level_that_is_reloaded(runner: Command, state: Path) -> None:
    file = runner.folder / runner.write('log_level = "error"', "runner.toml")
    with serving(runner, "--config", str(file), "--state-dir", str(state), "--listen", "127.0.0.1:0") as node:
        assert node.said() == []
        runner.write('log_level = "info"', "runner.toml")
        node.reload()
        node.until_said("reloaded")
        assert len(node.said()) == 1


def make_certificate(folder: Path, name: str) -> None:
    """`node.pem` and `node.key`, self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    (folder / "node.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "node.key").touch(mode=0o600)
    (folder / "node.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def shown_by(address: str) -> str:
    """The name in the certificate that a node shows to a new connection."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="node") as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).subject.rfc4514_string()


def test_certificates_are_reloaded(runner: Command, state: Path) -> None:
    make_certificate(runner.folder, "first")
    runner.write('listen = ["127.0.0.1:0"]\n[tls]\ncertificate = "node.pem"\nkey = "node.key"', "runner.toml")
    with serving(runner, "--config", "runner.toml", "--state-dir", str(state)) as node:
        assert shown_by(node.address) == "CN=first"
        make_certificate(runner.folder, "second")
        node.reload()
        assert shown_by(node.address) == "CN=second"
        runner.write("nothing", "node.key")
        assert "refused" in node.reload()["STATUS"]
        assert "tls.key" in node.until_said("configuration_fault")["message"]
        assert shown_by(node.address) == "CN=second"
        assert node.end() == 0


def waits_for(file: Path) -> str:
    return f"echo begun >> {file}.begun; while [ ! -e {file} ]; do sleep 0.02; done; echo over"


def test_what_runs_when_it_ends_is_finished_by_the_next(runner: Command, state: Path, tmp_path: Path) -> None:
    document = group([shell("slow", waits_for(tmp_path / "go"))])
    with serving(runner, "--state-dir", str(state)) as node:
        with node.service() as service:
            id = submit(service, document)
            events = watched(service, id)
            assert any(event.HasField("task_started") for event in events)
            node.process.send_signal(signal.SIGTERM)
            # Whoever watches is told to come back.
            with pytest.raises(grpc.RpcError) as ended:
                list(events)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert node.process.wait(SECONDS) == 0
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        (tmp_path / "go").touch()
        *_, last = watched(service, id)
        assert last.group_finished.status == pb.STATUS_SUCCESS
        [task] = service.GetTaskGroup(pb.GetTaskGroupRequest(id=id), timeout=SECONDS).tasks
        assert (task.status, task.attempts) == (pb.STATUS_SUCCESS, 1)
    assert (tmp_path / "go.begun").read_text() == "begun\n"


def test_one_whose_supervisor_another_has_taken_leaves_all_to_the_next(
    runner: Command, state: Path, tmp_path: Path
) -> None:
    document = group([shell("first", waits_for(tmp_path / "go"))])
    with serving(runner, "--state-dir", str(state)) as node:
        with node.service() as service:
            id = submit(service, document)
            assert any(event.HasField("task_started") for event in watched(service, id))
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as another:
                another.connect(str(state / "supervisor.sock"))
                another.sendall(wire.encode({"op": "hello", "id": 1, "protocol": wire.PROTOCOL}))
                assert node.process.wait(SECONDS) == 75
        lost, left = node.said()[-2:]
        assert (lost["action"], left["action"]) == ("supervisor_taken", "left")
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        (tmp_path / "go").touch()
        *_, last = watched(service, id)
        assert last.group_finished.status == pb.STATUS_SUCCESS
    assert (tmp_path / "go.begun").read_text() == "begun\n"


def until_refused(service: RunnerServiceStub) -> None:
    """The drain begins a moment after it was asked for."""
    while True:
        submit(service, group([shell("late", "true")]), id="late")


def test_a_drain_waits_for_what_runs_and_begins_nothing(runner: Command, state: Path, tmp_path: Path) -> None:
    document = group([shell("first", waits_for(tmp_path / "go")), shell("second", f"touch {tmp_path}/second")])
    options = ("--state-dir", str(state), "--max-parallel", "1")
    with serving(runner, *options, "--drain", "1h") as node:
        with node.service() as service:
            id = submit(service, document)
            assert any(event.HasField("task_started") for event in watched(service, id))
            node.process.send_signal(signal.SIGTERM)
            assert int(node.until_told("STOPPING")["EXTEND_TIMEOUT_USEC"]) > 3600e6
            with pytest.raises(grpc.RpcError) as refused:
                until_refused(service)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        (tmp_path / "go").touch()
        assert node.process.wait(SECONDS) == 0
    assert not (tmp_path / "second").exists()
    with serving(runner, *options) as node, node.service() as service:
        *_, last = watched(service, id)
        assert last.group_finished.status == pb.STATUS_SUCCESS
    assert (tmp_path / "second").exists()


def test_asked_twice_it_leaves_at_once(runner: Command, state: Path, tmp_path: Path) -> None:
    with serving(runner, "--state-dir", str(state), "--drain", "1h") as node:
        with node.service() as service:
            id = submit(service, group([shell("slow", waits_for(tmp_path / "go"))]))
            assert any(event.HasField("task_started") for event in watched(service, id))
        node.process.send_signal(signal.SIGTERM)
        node.until_told("STOPPING")
        assert node.end() == 130
        assert node.said()[-1]["action"] == "left"
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        (tmp_path / "go").touch()
        *_, last = watched(service, id)
        assert last.group_finished.status == pb.STATUS_SUCCESS


def test_the_watchdog_is_told_that_it_lives(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state), WATCHDOG_USEC="300000") as node:
        for _ in range(3):
            assert node.until_told("WATCHDOG") == {"WATCHDOG": "1"}


def refused(runner: Command, *arguments: str) -> str:
    """What a node says that is refused; in both ways in which it can say it."""
    done = runner("serve", *arguments, "--log-format", "text")
    assert done.status == 2
    *_, last = done.stderr.splitlines()
    again = runner("serve", *arguments)
    assert again.status == 2
    said = json.loads(again.stderr.splitlines()[-1])
    assert (said["level"], f"runner: {said['message']}") == ("error", last)
    return last


def test_a_second_node_on_the_same_state(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state)) as node:
        said = refused(runner, "--state-dir", str(state))
        assert f"is in use by another runner (process {node.process.pid})" in said
        assert labels_of(node) == {}  # and its socket is still its own


def test_an_address_that_another_has(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state), "--listen", f"unix:{state}.sock,127.0.0.1:0") as node:
        for address in node.until_said("node_serving")["addresses"]:
            said = refused(runner, "--state-dir", f"{state}-2", "--listen", address)
            assert address.removeprefix("unix:") in said
            assert "in use" in said
        assert labels_of(node) == {}


def test_the_socket_that_a_dead_node_has_left(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state)) as node:
        node.process.kill()
        node.process.wait()
        assert (state / "runner.sock").is_socket()
    with serving(runner, "--state-dir", str(state)) as node:
        assert labels_of(node) == {}


def test_a_file_in_the_place_of_the_socket_stays(runner: Command, state: Path) -> None:
    (runner.folder / "precious").write_text("x")
    assert "precious" in refused(runner, "--state-dir", str(state), "--listen", f"unix:{runner.folder}/precious")
    assert (runner.folder / "precious").read_text() == "x"


def test_places_where_no_socket_can_be(runner: Command, state: Path) -> None:
    said = refused(runner, "--state-dir", str(state), "--listen", "unix:/nowhere/to/be/seen.sock")
    assert "there is no folder /nowhere/to/be" in said
    said = refused(runner, "--state-dir", str(state.parent / ("s" * 110)))
    assert "it has more than 107 bytes, which is the most for a socket; give a shorter `listen` or `state_dir`" in said


def test_a_configuration_that_is_wrong(runner: Command) -> None:
    done = runner("serve", "--config", runner.write("nme = 1\ndrain = 'x'", "runner.toml"))
    assert done.status == 2
    assert len(done.stderr.splitlines()) == 3


def test_a_caller_that_speaks_something_else_leaves_no_word(runner: Command, state: Path) -> None:
    """What gRPC would say of it, in its own words and as often as somebody likes."""
    with serving(runner, "--state-dir", str(state), "--listen", "127.0.0.1:0") as node:
        host, _, port = node.address.partition(":")
        for _ in range(20):
            with socket.create_connection((host, int(port)), timeout=SECONDS) as caller:
                caller.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
                while caller.recv(4096):
                    pass
        assert node.end() == 0
        assert {line["action"] for line in node.said()} <= {"node_starting", "node_serving", "draining", "node_ended"}
