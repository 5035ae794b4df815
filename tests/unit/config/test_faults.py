"""Everything that can be wrong with what a node is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.config import load_configuration, load_state_dir
from runner.errors import ConfigurationError
from tests.unit.config.test_configuration import faults, load

ALL_WRONG = """\
nme = "x"
groups = 4
drain = "soon"
listen = ["0.0.0.0:99999", "::1:4", 3, "[::zz]:1", "unix:"]
insecure = "yes"
tls = 4
containment = "docker"
max_parallel = true
log_limit = 1
log_level = 3
labels = {a = 1, "b\\u0007" = "x"}
state_dir = "~/x"
rules = [{callers = "ci", scope = ["submti"]}, {callers = [""], scopes = ["submti"]}]

[limits]
groups = -1
message = "1KiB"
workspace = 1.5
"""


def test_every_fault_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    assert faults(tmp_path, ALL_WRONG, {"RUNNER_STREAMS": "x", "RUNNER_LIMITS_STREAMS": "x"}) == [
        "runner.toml:1:1: nme: unknown key (did you mean 'name'?)",
        "runner.toml:2:1: groups: unknown key (did you mean 'limits.groups'?)",
        'runner.toml:3:1: drain: "soon": expected a duration such as 90, 1.5s, 2m30s or 1h',
        'runner.toml:4:11: listen[0]: "0.0.0.0:99999": a port is at most 65535',
        'runner.toml:4:28: listen[1]: "::1:4": expected host:port, [v6]:port or unix:/path; an IPv6 address stands in brackets',
        "runner.toml:4:37: listen[2]: expected text, found a number",
        'runner.toml:4:40: listen[3]: "[::zz]:1": expected host:port, [v6]:port or unix:/path; an IPv6 address stands in brackets',
        'runner.toml:4:52: listen[4]: "unix:": expected host:port, [v6]:port or unix:/path',
        "runner.toml:5:1: insecure: expected true or false, found text (write true, without quotes)",
        "runner.toml:6:1: tls: expected a mapping ([tls]), found a number",
        'runner.toml:7:1: containment: expected auto, cgroup2 or marker, found "docker"',
        "runner.toml:8:1: max_parallel: expected a whole number from 1 to 999999, found a boolean",
        "runner.toml:9:1: log_limit: expected a size of at least 64KiB, or 0 for no limit",
        "runner.toml:10:1: log_level: expected debug, info, warning or error, found a number",
        "runner.toml:11:11: labels.a: expected text, found a number",
        'runner.toml:11:18: labels["b\\u0007"]: expected a name of at most 256 printable characters',
        'runner.toml:12:1: state_dir: "~/x": ~ has no meaning here (write the folder that is meant)',
        "runner.toml:13:10: rules[0].scopes: is required",
        "runner.toml:13:11: rules[0].callers: expected a list of texts, found text",
        "runner.toml:13:27: rules[0].scope: unknown key (did you mean 'scopes'?)",
        "runner.toml:13:60: rules[1].callers[0]: must not be empty",
        "runner.toml:13:75: rules[1].scopes[0]: expected submit, read, cancel, remove, shell, reveal, dispatch or admin, found \"submti\" (did you mean 'submit'?)",
        "runner.toml:16:1: limits.groups: expected a whole number from 1 to 1000000000",
        "runner.toml:17:1: limits.message: expected a size from 32MiB to 1GiB",
        "runner.toml:18:1: limits.workspace: expected a size such as 1048576, 512MiB or 1.5GiB, found a number",
        'RUNNER_LIMITS_STREAMS: expected a whole number from 1 to 1000000000, found "x"',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "runner.toml:1:5: this is no TOML: invalid value"),
        ("a = 1\na = 2", "runner.toml:2:6: this is no TOML: cannot overwrite a value"),
        (f"a = {'[' * 100_000}", "runner.toml: this is no TOML: this is nested too deeply"),
        (b"a = '\xff'", "runner.toml: the file is not UTF-8: byte 6 is 0xff"),
        (b"#" * (1 << 20) + b"#", "runner.toml: the file has more than 1,048,576 bytes, which is the limit"),
        ("rules = []", "runner.toml:1:1: rules: there must be one rule at least (leave it out for the default)"),
        ("limits.nothing = 1", "runner.toml:1:8: limits.nothing: unknown key (known are "),
        ("max_parallel = " + "9" * 4000, "runner.toml:1:1: max_parallel: expected a whole number from 1 to 999999"),
        ("max_parallel = " + "9" * 5000, "runner.toml: this is no TOML: exceeds the limit"),
        ("keepalive = 0.5", 'runner.toml:1:1: keepalive: "0.5": expected 1s or more'),
        ("drain = inf", 'runner.toml:1:1: drain: "inf": expected a duration'),
        ("name = 'two words'", 'runner.toml:1:1: name: "two words" is not a name: expected at most 128 letters'),
        ("labels = []", 'runner.toml:1:1: labels: expected a mapping such as {site = "eu"}, found a list'),
        ("log_format = 1979-05-27", "runner.toml:1:1: log_format: expected auto, text or json, found date"),
        ("tls.certificate = ''", "runner.toml:1:5: tls.certificate: expected a path of printable characters"),
        ("tls.certificate = 3", "runner.toml:1:5: tls.certificate: expected a path, found a number"),
    ],
)
def test_a_fault(tmp_path: Path, text: str | bytes, message: str) -> None:
    [first, *_] = faults(tmp_path, text)
    assert first.startswith(message)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "runner.toml"
    file.write_bytes(b"\xef\xbb\xbfname = 'a'")
    assert load_configuration({"HOME": "/h"}, file=file).service.name == "a"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RUNNER_LABELS": "a"}, 'RUNNER_LABELS: expected KEY=VALUE, with commas between several, found "a"'),
        ({"RUNNER_LABELS": "a=1,a=2"}, 'RUNNER_LABELS: "a" is given twice'),
        ({"RUNNER_INSECURE": "yes"}, 'RUNNER_INSECURE: expected true or false, found "yes"'),
        ({"RUNNER_LISTEN": "x"}, 'RUNNER_LISTEN: [0]: "x": expected host:port, [v6]:port or unix:/path'),
        (
            {"RUNNER_RULES": "x"},
            'RUNNER_RULES: this is no TOML value such as [{callers = ["ci-*"], scopes = ["submit", "read"]}]: Invalid value',
        ),
        (
            {"RUNNER_PEERS": "a=b:1"},
            'RUNNER_PEERS: this is no TOML value such as {onprem-1 = {target = "host:8443"}}: Invalid value',
        ),
        ({"RUNNER_NAME": "\udcff"}, "RUNNER_NAME: "),
    ],
)
def test_a_fault_in_the_environment(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    [fault] = faults(tmp_path, "", environ)
    assert fault.startswith(message)


def test_a_home_that_is_missing_is_one_fault_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # of whom the system knows nothing
    with pytest.raises(ConfigurationError) as caught:
        load_configuration({"RUNNER_DRAIN": "x"}, file=Path("/dev/null"))
    assert [str(fault).partition(":")[0] for fault in caught.value.faults] == ["RUNNER_STATE_DIR", "RUNNER_DRAIN"]


def test_plain_text_is_spoken_where_nobody_can_listen_in(tmp_path: Path) -> None:
    local = '["localhost:1", "127.9.9.9:1", "[::1]:1", "unix:/s"]'
    assert len(load(tmp_path, f"listen = {local}").service.listen) == 4
    for address in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"):
        [fault] = faults(tmp_path, f'\nlisten = ["localhost:1", "{address}"]')
        assert fault == (
            f"runner.toml:2:1: listen: others could listen in on {address}, where plain text would be spoken "
            "(give tls.certificate and tls.key, or insecure = true)"
        )
        assert load(tmp_path, f'listen = ["{address}"]\ninsecure = true').service.insecure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("certificate = 'c'", "certificate: there is no tls.key with it"),
        ("key = 'c'", "key: there is no tls.certificate with it"),
        ("client_ca = 'c'", "client_ca: there is no tls.certificate with it"),
    ],
)
def test_half_of_what_tls_needs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c").touch()
    assert faults(tmp_path, f"[tls]\n{text}") == [f"runner.toml:2:1: tls.{message}"]


def test_files_of_tls_that_are_not_there(tmp_path: Path) -> None:
    assert faults(tmp_path, "[tls]\ncertificate = 'c'\nkey = '.'") == [
        f"runner.toml:2:1: tls.certificate: {tmp_path}/c: No such file or directory",
        f"runner.toml:3:1: tls.key: {tmp_path} is no file",
    ]


def test_the_state_directory_is_known_before_the_files_of_tls_are_there(tmp_path: Path) -> None:
    tls = '[tls]\ncertificate = "none.pem"\nkey = "none.key"'
    file = tmp_path / "runner.toml"
    file.write_text(f'state_dir = "there"\nlisten = ["10.0.0.5:7070"]\n{tls}')
    environ = {"HOME": str(tmp_path)}
    assert load_state_dir(environ, file=file) == tmp_path / "there"
    assert load_state_dir(environ, file=file, options={"state_dir": ["/elsewhere"]}) == Path("/elsewhere")
    file.write_text(f'state_dirs = "there"\n{tls}')
    with pytest.raises(ConfigurationError, match="did you mean 'state_dir'"):
        load_state_dir(environ, file=file)


def test_a_key_in_the_place_of_its_path_is_not_repeated(tmp_path: Path) -> None:
    secret = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhki"
    assert "MIIE" not in "".join(faults(tmp_path, f'[tls]\nkey = "{secret}"'))
