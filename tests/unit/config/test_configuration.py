"""What a node is told, and from whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runner.config import Configuration, load_configuration
from runner.config.keys import NODE_KEYS
from runner.config.reading import Origin
from runner.config.service import DEFAULT_RULES, Limits, Metrics, Retention, Rule, Scope, Service, Tls, Tracing, Webhook
from runner.errors import ConfigurationError, UsageError
from runner.model.endpoint import Endpoint
from runner.model.fault import Fault


def load(
    folder: Path,
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Sequence[str],
) -> Configuration:
    """With `text` as the file. Nothing of this machine is read."""
    file = folder / "runner.toml"
    file.write_text(text or "")
    return load_configuration({"HOME": "/h", **(environ or {})}, file=file, options=options)


def faults(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong, without the folder."""
    file = folder / "runner.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration({"HOME": "/h", **(environ or {})}, file=file)
    return [str(fault).removeprefix(f"{folder}/") for fault in caught.value.faults]


def test_without_anything_it_is_the_default(tmp_path: Path) -> None:
    configuration = load(tmp_path)
    assert configuration.service == Service(name=configuration.service.name)
    assert configuration.settings.state_dir == Path("/h/.local/state/runner")
    assert (configuration.log_format, configuration.log_level) == ("auto", "info")
    assert {value.source.origin for value in configuration.values.values()} == {Origin.DEFAULT}


FULL = """
name = "build-1"
labels = {site = "eu", gpu = "true"}
lost_after = "1h"
state_dir = "state"
listen = ["10.0.0.1:7070", "[::1]:0", "unix:r.sock"]
insecure = true
drain = "1m30s"
keepalive = "5s"
max_parallel = 3
log_limit = "1MiB"
template_milliseconds = 50
containment = "marker"
log_format = "json"
log_level = "debug"

[tls]
certificate = "node.pem"
key = "/dev/null/../node.key"
client_ca = "ca.pem"
crl = "crl.pem"

[limits]
message = "33MiB"
groups = 1
groups_per_caller = 2
documents = "1MiB"
documents_per_caller = "2MiB"
streams = 3
streams_per_caller = 4
shells = 9
shell_idle = "10s"
workspace = 5
workspace_entries = 6

[retention]
age = "1h"
groups = 7
size = 8
workspaces = "2h"

[metrics]
listen = ["127.0.0.1:9464"]

[tracing]
endpoint = "https://example.org:4317"
insecure = true
headers_file = "headers"
ca = "ca.pem"

[webhook]
url = "https://example.org/h"
secret = "hook"
ca = "ca.pem"

[peers.onprem-1]
target = "onprem-1.example:8443"
ca = "ca.pem"
token_file = "token"

[peers.local]
target = "unix:/run/other.sock"

[[rules]]
callers = ["ci-*"]
scopes = ["submit"]
types = ["os_exec"]
users = ["build"]
targets = ["onprem-*"]

[[rules]]
callers = ["ada"]
scopes = ["admin", "read"]
"""


def test_every_key_arrives_where_it_belongs(tmp_path: Path) -> None:
    for name in ("node.pem", "ca.pem", "crl.pem", "node.key", "hook", "headers"):
        (tmp_path / name).touch()
    configuration = load(tmp_path, FULL.replace("/dev/null/../", f"{tmp_path}/"))
    assert configuration.service == Service(
        name="build-1",
        labels={"site": "eu", "gpu": "true"},
        peers={
            "onprem-1": Endpoint(
                target="onprem-1.example:8443", ca=f"{tmp_path}/ca.pem", token_file=f"{tmp_path}/token"
            ),
            "local": Endpoint(target="unix:/run/other.sock"),
        },
        lost_after=3600.0,
        listen=("10.0.0.1:7070", "[::1]:0", f"unix:{tmp_path}/r.sock"),
        tls=Tls(
            certificate=tmp_path / "node.pem",
            key=tmp_path / "node.key",
            client_ca=tmp_path / "ca.pem",
            crl=tmp_path / "crl.pem",
        ),
        insecure=True,
        rules=(
            Rule(
                callers=("ci-*",),
                scopes=frozenset({Scope.SUBMIT}),
                types=("os_exec",),
                users=("build",),
                targets=("onprem-*",),
            ),
            Rule(callers=("ada",), scopes=frozenset({Scope.ADMIN, Scope.READ})),
        ),
        limits=Limits(
            message_bytes=33 << 20,
            groups=1,
            groups_per_caller=2,
            document_bytes=1 << 20,
            document_bytes_per_caller=2 << 20,
            streams=3,
            streams_per_caller=4,
            shells=9,
            shell_idle_seconds=10.0,
            workspace_bytes=5,
            workspace_entries=6,
        ),
        retention=Retention(age_seconds=3600.0, groups=7, bytes=8, workspace_seconds=7200.0),
        metrics=Metrics(listen=("127.0.0.1:9464",)),
        tracing=Tracing(endpoint="https://example.org:4317", headers_file=tmp_path / "headers", ca=tmp_path / "ca.pem"),
        webhook=Webhook(url="https://example.org/h", secret=tmp_path / "hook", ca=tmp_path / "ca.pem"),
        drain_seconds=90.0,
        keepalive_seconds=5.0,
    )
    settings = configuration.settings
    assert (settings.state_dir, settings.max_parallel, settings.log_bytes) == (tmp_path / "state", 3, 1 << 20)
    assert (settings.template_milliseconds, settings.containment) == (50, "marker")
    assert (configuration.log_format, configuration.log_level) == ("json", "debug")
    assert {value.source.origin for value in configuration.values.values()} == {Origin.FILE}
    assert configuration.values["limits.groups"].source.line == FULL.splitlines().index("groups = 1") + 1


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("RUNNER_NAME", "a", "name", "a"),
        ("RUNNER_LABELS", "a=b, c=d=e", "labels", {"a": "b", "c": "d=e"}),
        ("RUNNER_LISTEN", "127.0.0.1:1, unix:/x", "listen", ("127.0.0.1:1", "unix:/x")),
        ("RUNNER_INSECURE", "1", "insecure", True),
        ("RUNNER_INSECURE", "False", "insecure", False),
        ("RUNNER_DRAIN", "250ms", "drain", 0.25),
        ("RUNNER_LIMITS_GROUPS", "7", "limits.groups", 7),
        ("RUNNER_LIMITS_WORKSPACE", "1GiB", "limits.workspace", 1 << 30),
        ("RUNNER_STATE_DIR", "/s", "state_dir", Path("/s")),
        (
            "RUNNER_RULES",
            '[{callers = ["a"], scopes = []}]',
            "rules",
            (Rule(callers=("a",), scopes=frozenset()),),
        ),
    ],
)
def test_every_kind_of_value_from_the_environment(
    tmp_path: Path, variable: str, text: str, name: str, value: object
) -> None:
    found = load(tmp_path, environ={variable: text}).values[name]
    assert (found.value, str(found.source)) == (value, variable)


def test_who_wins(tmp_path: Path) -> None:
    text = 'name = "file"\ndrain = 1\nmax_parallel = 1'
    configuration = load(tmp_path, text, {"RUNNER_NAME": "env", "RUNNER_DRAIN": "2"}, name=["option"])
    assert {name: str(configuration.values[name].source) for name in ("name", "drain", "max_parallel", "insecure")} == {
        "name": "--name",
        "drain": "RUNNER_DRAIN",
        "max_parallel": f"{tmp_path}/runner.toml:3",
        "insecure": "default",
    }
    assert (configuration.service.name, configuration.service.drain_seconds) == ("option", 2.0)


def test_a_variable_that_is_set_to_nothing_is_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, 'name = "file"', {"RUNNER_NAME": ""}).service.name == "file"


def test_an_option_that_is_given_several_times_is_a_list(tmp_path: Path) -> None:
    assert load(tmp_path, listen=["127.0.0.1:1", "127.0.0.1:2,unix:/s"]).service.listen == (
        "127.0.0.1:1",
        "127.0.0.1:2",
        "unix:/s",
    )


def test_of_another_option_the_last_counts(tmp_path: Path) -> None:
    assert load(tmp_path, name=["a", "b"]).service.name == "b"


def test_what_is_relative_is_so_to_the_file_or_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert load(tmp_path, 'state_dir = "s"').settings.state_dir == tmp_path / "s"
    assert load(tmp_path, environ={"RUNNER_STATE_DIR": "s"}).settings.state_dir == Path("/s")
    assert load(tmp_path, listen=["unix:s"]).service.listen == ("unix:/s",)


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("state", "named", "given")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "runner.toml").write_text(f'name = "{name}"')
    environ = {"HOME": "/h", "RUNNER_STATE_DIR": str(folders["state"])}
    assert load_configuration(environ).service.name == "state"
    assert load_configuration({"HOME": "/h"}, options={"state_dir": [str(folders["state"])]}).service.name == "state"
    environ["RUNNER_CONFIG"] = str(folders["named"] / "runner.toml")
    assert load_configuration(environ).service.name == "named"
    assert load_configuration(environ, file=folders["given"] / "runner.toml").service.name == "given"


@pytest.mark.parametrize("name", ["nowhere.toml", "."])
def test_a_file_that_is_named_has_to_be_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot read the configuration .*: (No such file|Is a directory)"):
        load_configuration({"HOME": "/h"}, file=tmp_path / name)


def warnings(configuration: Configuration) -> list[str]:
    return [str(fault) for fault in configuration.warnings]


def test_a_variable_that_is_nearly_known(tmp_path: Path) -> None:
    environ = {"RUNNER_LISTN": "x", "RUNNER_TASK_NAME": "x", "RUNNER_GROUP_ID": "x", "RUNNER_KEEP_DAYS": "1"}
    assert warnings(load(tmp_path, environ=environ)) == [
        "RUNNER_LISTN: warning: is not known (did you mean 'RUNNER_LISTEN'?)"
    ]


def test_what_is_sent_to_others_needs_tls_and_a_secret(tmp_path: Path) -> None:
    (tmp_path / "hook").touch()
    text = '[webhook]\nurl = "http://{}/h"\nsecret = "hook"\n'
    for local in ("127.0.0.1", "[::1]", "localhost"):
        assert load(tmp_path, text.format(local)).service.webhook.url == f"http://{local}/h"
    assert load(tmp_path, "insecure = true\n" + text.format("10.0.0.1")).service.webhook.url
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text.format("10.0.0.1"))
    told = "\n".join(map(str, caught.value.faults))
    assert "webhook.url: others could listen in on the way to http://10.0.0.1/h (use https, or insecure = true)" in told
    for alone, needed in (
        ('url = "https://a"', "webhook.secret"),
        ('secret = "hook"', "webhook.url"),
        ('ca = "hook"', "webhook.url"),
    ):
        with pytest.raises(ConfigurationError, match=f"there is no {needed} with it"):
            load(tmp_path, f"[webhook]\n{alone}")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://a", r'"ftp://a" is no URL; expected one such as https://example.org/hook$'),
        ("https://", "is no URL"),
        ("https://a b", "is no URL"),
        ("https://a:99999/", "is no URL"),
        ("https://ä.org", "is no URL"),
        ("https://u:p@a/", "a URL must not have a user or a password in it: others may read it$"),
        ("https://a/#x", "\"https://a/#x\": what stands behind '#' is never sent; leave it away$"),
        ("", "must not be empty"),
    ],
)
def test_what_is_no_url(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load(tmp_path, f'[webhook]\nurl = "{url}"\nsecret = "/dev/null"')


def test_traces_need_tls_and_an_endpoint(tmp_path: Path) -> None:
    text = '[tracing]\nendpoint = "http://{}:4317"\n'
    for local in ("127.0.0.1", "[::1]", "localhost"):
        assert load(tmp_path, text.format(local)).service.tracing.endpoint == f"http://{local}:4317"
    assert load(tmp_path, text.format("10.0.0.1") + "insecure = true").service.tracing.endpoint
    for wrong, told in (
        (text.format("10.0.0.1"), r"the way to http://10.0.0.1:4317 \(use https, or tracing.insecure = true\)"),
        ("insecure = true\n" + text.format("10.0.0.1"), "tracing.endpoint: others could listen in"),
        ('[tracing]\nendpoint = "https://a/v1/traces"', "expected nothing behind the host and the port"),
        ('[tracing]\nendpoint = "a:4317"', '"a:4317" is no URL; expected one such as http://127.0.0.1:4317$'),
        ('[tracing]\nheaders_file = "ca"', "tracing.headers_file: there is no tracing.endpoint with it"),
        ('[tracing]\nca = "ca"', "tracing.ca: there is no tracing.endpoint with it"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            load(tmp_path, wrong)


def test_a_file_that_everybody_can_write(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").touch()
    (tmp_path / "runner.toml").chmod(0o666)
    [warning] = warnings(load(tmp_path))
    assert warning.endswith(
        f"everybody on this machine can write to this file, and so decide what this node does (chmod o-w {tmp_path}/runner.toml)"
    )


def test_names_are_unique() -> None:
    assert len({key.variable for key in NODE_KEYS}) == len(NODE_KEYS)
    assert len({key.flag for key in NODE_KEYS}) == len(NODE_KEYS)


def test_every_setting_of_a_service_has_a_key() -> None:
    """So that none is forgotten when one is added."""
    spelled = {
        "message_bytes": "message",
        "workspace_bytes": "workspace",
        "document_bytes": "documents",
        "document_bytes_per_caller": "documents_per_caller",
        "drain_seconds": "drain",
        "age_seconds": "age",
        "shell_idle_seconds": "shell_idle",
        "workspace_seconds": "workspaces",
        "bytes": "size",
        "keepalive_seconds": "keepalive",
    }
    names = {key.name for key in NODE_KEYS}
    for prefix, struct in (
        ("", Service),
        ("limits.", Limits),
        ("tls.", Tls),
        ("retention.", Retention),
        ("metrics.", Metrics),
        ("tracing.", Tracing),
        ("webhook.", Webhook),
    ):
        for field in struct.__struct_fields__:
            name = prefix + spelled.get(field, field)
            assert name in names or any(known.startswith(f"{name}.") for known in names), name
    assert load_configuration({"HOME": "/h"}, file=Path("/dev/null")).service.rules == DEFAULT_RULES


def test_faults_are_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "x = 1")
    assert all(isinstance(fault, Fault) for fault in caught.value.faults)
