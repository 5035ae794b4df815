"""How the peers of a node are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config import load_configuration
from runner.config.printing import as_toml
from runner.errors import ConfigurationError
from runner.model.endpoint import Endpoint

NAME = "expected at most 128 letters, digits, '.', '_' or '-', a letter or digit first and last"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[peers.a]\ntarget = "http://x"', "runner.toml:1:1: peers.a: 'http://x': a node is named without http:// and a path, e.g. x:8443; whether TLS is spoken is told by the other options"),
        ('[peers."b/d"]\ntarget = "x:1"', f'runner.toml:1:1: peers["b/d"]: "b/d" is no name of a runner: {NAME}'),
        ('[peers.a]\ntgt = "x:1"', "runner.toml:1:1: peers.a.target: is required"),
        ('[peers.a]\ntarget = "x:1"\ncertificate = "c.pem"', "runner.toml:1:1: peers.a: x:1: a certificate and its key go together: give both, or none"),
        ('[peers.a]\ntarget = "x:1"\ninsecure = "yes"', "runner.toml:3:1: peers.a.insecure: expected true or false, found text (write true, without quotes)"),
        ('[peers."a:b"]\ntarget = "x:1"', 'runner.toml:2:1: peers["a:b"].target: "a:b" stands for addresses itself, so it has no target; leave it away'),
        ('peers = ["a"]', 'runner.toml:1:1: peers: expected a mapping such as {onprem-1 = {target = "host:8443"}}, found a list'),
    ],
)  # fmt: skip
def test_what_is_wrong(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "runner.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration({"HOME": "/h"}, file=file)
    assert fault in [str(one).removeprefix(f"{tmp_path}/") for one in caught.value.faults]


def test_what_is_shown_reads_back_as_the_same(tmp_path: Path) -> None:
    file = tmp_path / "runner.toml"
    file.write_text(
        '[peers.onprem-1]\ntarget = "[::1]:8443"\nca = "ca.pem"\nserver_name = "onprem"\n'
        '[peers."a.b"]\ntarget = "x:1"\ninsecure = true\ntoken_file = "/t"\n'
    )
    peers = load_configuration({"HOME": "/h"}, file=file).service.peers
    assert peers == {
        "onprem-1": Endpoint(target="[::1]:8443", ca=f"{tmp_path}/ca.pem", server_name="onprem"),
        "a.b": Endpoint(target="x:1", insecure=True, token_file="/t"),
    }
    shown = as_toml(load_configuration({"HOME": "/h"}, file=file))
    file.write_text(shown)
    assert load_configuration({"HOME": "/h"}, file=file).service.peers == peers


def test_files_that_are_not_there_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "runner.toml"
    (tmp_path / "ca.pem").touch()
    file.write_text(
        'name = "x"\n[peers.a]\ntarget = "x:1"\nca = "ca.pem"\ntoken_file = "t"\n[peers.b]\ntarget = "y:1"\nca = "b.pem"\n'
    )
    assert [str(one).replace(f"{tmp_path}/", "") for one in load_configuration({"HOME": "/h"}, file=file).warnings] == [
        "runner.toml:5:1: warning: peers.a.token_file: t: No such file or directory; this peer cannot be reached without it",
        "runner.toml:8:1: warning: peers.b.ca: b.pem: No such file or directory; this peer cannot be reached without it",
    ]
    environ = {"HOME": "/h", "RUNNER_PEERS": '{a = {target = "x:1", ca = "/nowhere/ca.pem"}}'}
    file.write_text("")
    assert [str(one) for one in load_configuration(environ, file=file).warnings] == [
        "RUNNER_PEERS: warning: a.ca: /nowhere/ca.pem: No such file or directory; this peer cannot be reached without it"
    ]
