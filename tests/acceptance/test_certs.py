"""`runner certs`, as its users run it; what it makes serves real connections."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.config.service import Tls
from runner.rpc.credentials import Credentials
from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub
from tests.acceptance.command import Command
from tests.acceptance.serving import SECONDS
from tests.acceptance.serving import serving as node_serving
from tests.guarded import bearer, channel, describe, serving
from tests.material import now


def tls_of(stdout: str) -> Tls:
    """The lines for runner.toml that a command has printed."""
    said: dict[str, Any] = tomllib.loads(stdout[stdout.index("[tls]") :])
    return Tls(**{key: Path(value) for key, value in said["tls"].items()})


def files_of(stdout: str) -> list[Path]:
    """The files that a client is told to have."""
    return [Path(line.split(maxsplit=1)[1]) for line in stdout.splitlines() if line.startswith("  --")]


async def connects(tls: Tls, files: list[Path], folder: Path, name: str) -> bool:
    ca, certificate, key = (path.read_bytes() for path in files)
    async with (
        serving(folder, credentials=Credentials(tls, now().timestamp()), wall=now().timestamp()) as node,
        channel(node.addresses[0], grpc.ssl_channel_credentials(ca, key, certificate)) as to,
    ):
        return (await describe(to)).caller == name


async def test_a_first_mtls_set_up_in_two_commands(runner: Command, tmp_path: Path) -> None:
    made = runner("certs", "init", "--node", "onprem-1")
    assert made.status == 0
    assert "ca.key can be anybody: keep it off the nodes" in made.stderr
    issued = runner("certs", "issue", "ada")
    assert (issued.status, issued.stderr) == (0, "")
    tls, files = tls_of(made.stdout), files_of(issued.stdout)
    assert {path.parent for path in files} <= {
        runner.home / ".local/state/runner/certs",
        runner.home / ".local/state/runner/certs/clients",
    }
    assert await connects(tls, files, tmp_path, "ada")


async def test_renewed_in_time(runner: Command, tmp_path: Path) -> None:
    folder = runner.folder / 'certs "of" ours'
    made = runner("certs", "init", "--node", "onprem-1", "--dir", str(folder), "--host", "127.0.0.1", "--host", "::1")
    assert "reached as 127.0.0.1, ::1" in made.stdout
    files = files_of(runner("certs", "issue", "ada", "--days", "20", "--dir", str(folder)).stdout)
    before = files[1].read_bytes()

    nothing = runner("certs", "renew", "--within", "10d", "--dir", str(folder))
    assert (nothing.status, files[1].read_bytes()) == (0, before)
    assert f"nothing to renew: the next, {files[1]}, expires on" in nothing.stdout
    renewed = runner("certs", "renew", "--dir", str(folder))
    assert renewed.stdout.startswith(f"{files[1]}: renewed, until ")
    assert "Clients need their new .pem and .key." in renewed.stdout
    assert "onprem-1" not in renewed.stdout
    assert files[1].read_bytes() != before
    named = runner("certs", "renew", "onprem-1", "--dir", str(folder))
    assert "onprem-1.pem: renewed" in named.stdout
    assert "SIGHUP" in named.stdout
    assert await connects(tls_of(made.stdout), files, tmp_path, "ada")


async def test_certificates_for_programs(runner: Command, tmp_path: Path) -> None:
    """All that has to be known to use them is in what is said."""

    def told(*arguments: str) -> Any:
        done = runner("certs", *arguments, "--output", "json")
        assert done.status == 0, done.stderr
        return done.json

    made, ada = told("init", "--node", "onprem-1", "--host", "127.0.0.1"), told("issue", "ada", "--days", "20")
    authority, node = made["authority"], made["node"]
    assert (node["kind"], node["name"], node["hosts"]) == ("node", "onprem-1", ["127.0.0.1"])
    assert (ada["kind"], ada["name"], ada["hosts"]) == ("client", "ada", [])
    assert told("renew", "--within", "10d") == {"authority": authority, "renewed": []}
    (renewed,) = told("renew")["renewed"]
    assert {**renewed, "expires": ""} == {**ada, "expires": ""}
    assert ada["expires"] <= renewed["expires"] < authority["expires"]
    tls = Tls(
        certificate=Path(node["certificate"]), key=Path(node["key"]), client_ca=Path(authority["certificate"]),
        crl=Path(authority["crl"]),
    )  # fmt: skip
    files = [Path(ada[name]) for name in ("ca", "certificate", "key")]
    assert await connects(tls, files, tmp_path, "ada")
    assert told("revoke", "ada") == {"kind": "client", "name": "ada", "revoked": 2, "crl": authority["crl"]}
    assert told("init", "--force")["node"] is None


async def test_everybody_gets_a_certificate_of_a_new_authority(runner: Command, tmp_path: Path) -> None:
    made = runner("certs", "init", "--node", "onprem-1", "--days", "20")
    files = files_of(runner("certs", "issue", "ada").stdout)
    soon = runner("certs", "renew")
    assert soon.status == 0
    assert "the authority in" in soon.stderr
    assert "`runner certs init --force` makes a new one" in soon.stderr
    assert runner("certs", "init", "--force").status == 0
    renewed = runner("certs", "renew")
    assert renewed.stdout.count(": renewed, until ") == 2
    assert await connects(tls_of(made.stdout), files, tmp_path, "ada")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("issue", "ada"), "there is no authority in"),
        (("renew",), "there is no authority in"),
        (("init", "--host", "a.example"), "--host is about a node's certificate"),
        (("init", "--node", "a b"), "a node cannot be called 'a b'"),
        (("init", "--node", "a", "--host", "a:1"), "'a:1' is no host"),
        (("init", "--days", "40000"), "1 to 36,500 days"),
    ],
)
def test_what_is_refused_leaves_nothing(runner: Command, arguments: tuple[str, ...], says: str) -> None:
    refused = runner("certs", *arguments)
    assert refused.status == 2
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not list(runner.home.rglob("*.pem"))


def test_what_is_there_is_kept(runner: Command) -> None:
    assert runner("certs", "init").status == 0
    assert runner("certs", "issue", "ada").status == 0
    before = {path: path.read_bytes() for path in runner.home.rglob("*.*") if path.is_file()}
    for arguments, says in (
        (("init",), "there is an authority in"),
        (("issue", "ada"), "'ada' has a certificate already"),
        (("issue", "bob", "--host", "a.example"), "a client is not reached at a host"),
        (("renew", "bob"), "'bob' has no certificate in"),
    ):
        refused = runner("certs", *arguments)
        assert refused.status == 2
        assert says in refused.stderr
    assert {path: path.read_bytes() for path in runner.home.rglob("*.*") if path.is_file()} == before


def test_a_node_that_serves_with_them(runner: Command, tmp_path: Path) -> None:
    """A set-up from nothing, a renewal, a token, and what each of them can: all by the commands."""
    state = tmp_path / "state"
    file = runner.folder / runner.write(f'state_dir = "{state}"\nlisten = ["127.0.0.1:0"]\n', "runner.toml")
    at = ("--config", str(file))
    made = runner("certs", "init", "--node", "onprem-1", *at)
    runner.write(file.read_text() + made.stdout[made.stdout.index("\n[tls]") :], "runner.toml")
    files = files_of(runner("certs", "issue", "ada", *at).stdout)
    assert all(path.is_relative_to(state / "certs") for path in files)
    token = runner("token", "create", "ada", "--scope", "read", *at).stdout.strip()

    def told(metadata: tuple[tuple[str, str], ...] = ()) -> tuple[str, list[str]]:
        ca, certificate, key = (path.read_bytes() for path in files)
        with grpc.secure_channel(node.address, grpc.ssl_channel_credentials(ca, key, certificate)) as to:
            answer = RunnerServiceStub(to).DescribeRunner(
                pb.DescribeRunnerRequest(), timeout=SECONDS, metadata=metadata
            )
            return answer.caller, list(answer.scopes)

    with node_serving(runner, *at) as node:
        assert told() == ("ada", ["cancel", "read", "remove", "submit"])
        assert told(bearer(token)) == ("ada", ["read"])
        assert runner("certs", "renew", "onprem-1", "ada", *at).status == 0
        assert "refused" not in node.reload()["STATUS"]
        assert told() == ("ada", ["cancel", "read", "remove", "submit"])
        assert runner("token", "revoke", token.split("_")[1], *at).status == 0
        with pytest.raises(grpc.RpcError) as caught:
            told(bearer(token))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert node.until_said("call_refused")["method"] == "/runner.v1.RunnerService/DescribeRunner"
        assert node.end() == 0
    assert token not in node.log.read_text()


def test_who_is_revoked_is_refused_by_a_node_as_it_was_first_set_up(runner: Command, tmp_path: Path) -> None:
    """Nothing has to be added to its configuration, and nobody has to tell it."""
    made = runner("certs", "init", "--node", "onprem-1", "--host", "127.0.0.1")
    ca, certificate, key = (path.read_bytes() for path in files_of(runner("certs", "issue", "ada").stdout))
    configuration = tmp_path / "runner.toml"
    configuration.write_text(f'listen = ["127.0.0.1:0"]\n{made.stdout[made.stdout.index("[tls]") :]}\n')
    with (
        node_serving(runner, "--config", str(configuration)) as node,
        grpc.secure_channel(node.address, grpc.ssl_channel_credentials(ca, key, certificate)) as to,
    ):
        service = RunnerServiceStub(to)
        assert service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS).caller == "ada"
        assert runner("certs", "revoke", "ada").status == 0
        with pytest.raises(grpc.RpcError, match="was revoked"):
            service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS)


def test_a_caller_whose_certificate_is_revoked(runner: Command, tmp_path: Path) -> None:
    made = runner("certs", "init", "--node", "onprem-1", "--host", "127.0.0.1")
    issued = runner("certs", "issue", "ada")
    runner("certs", "issue", "eve")
    revoked = runner("certs", "revoke", "eve")
    assert "1 certificate of the client eve revoked" in revoked.stdout
    assert runner("certs", "revoke", "mallory").status == 2
    settings = made.stdout[made.stdout.index("[tls]") :]
    assert settings.splitlines()[-1] == revoked.stdout.splitlines()[-1]
    configuration = tmp_path / "runner.toml"
    configuration.write_text(f'listen = ["127.0.0.1:0"]\n{settings}\n')
    ca, certificate, key = (path.read_bytes() for path in files_of(issued.stdout))
    with (
        node_serving(runner, "--config", str(configuration)) as node,
        grpc.secure_channel(node.address, grpc.ssl_channel_credentials(ca, key, certificate)) as to,
    ):
        service = RunnerServiceStub(to)
        assert service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS).caller == "ada"
        assert runner("certs", "revoke", "ada").status == 0
        with pytest.raises(grpc.RpcError, match="was revoked"):
            service.DescribeRunner(pb.DescribeRunnerRequest(), timeout=SECONDS)
