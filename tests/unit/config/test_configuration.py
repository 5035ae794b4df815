"""What a node is told, from whom, and everything that can be wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runner.config import Configuration, load_configuration, load_state_dir
from runner.config.keys import NODE_KEYS
from runner.config.reading import Origin
from runner.config.service import DEFAULT_RULES, Limits, Metrics, Retention, Rule, Scope, Service, Tls, Tracing, Webhook
from runner.errors import ConfigurationError, UsageError
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
workspace = 5
workspace_entries = 6

[retention]
age = "1h"
groups = 7
size = 8

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

[[rules]]
callers = ["ci-*"]
scopes = ["submit"]
types = ["os_exec"]
users = ["build"]

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
        listen=("10.0.0.1:7070", "[::1]:0", f"unix:{tmp_path}/r.sock"),
        tls=Tls(
            certificate=tmp_path / "node.pem",
            key=tmp_path / "node.key",
            client_ca=tmp_path / "ca.pem",
            crl=tmp_path / "crl.pem",
        ),
        insecure=True,
        rules=(
            Rule(callers=("ci-*",), scopes=frozenset({Scope.SUBMIT}), types=("os_exec",), users=("build",)),
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
            workspace_bytes=5,
            workspace_entries=6,
        ),
        retention=Retention(age_seconds=3600.0, groups=7, bytes=8),
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
        "runner.toml:13:75: rules[1].scopes[0]: expected submit, read, cancel or admin, found \"submti\" (did you mean 'submit'?)",
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
        ({"RUNNER_RULES": "x"}, "RUNNER_RULES: this is no TOML value: Invalid value"),
        ({"RUNNER_NAME": "\udcff"}, "RUNNER_NAME: "),
    ],
)
def test_a_fault_in_the_environment(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    [fault] = faults(tmp_path, "", environ)
    assert fault.startswith(message)


def test_a_home_that_is_missing_is_one_fault_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: str) -> str:
        raise RuntimeError(path)

    monkeypatch.setattr(os.path, "expanduser", no_home)
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
    for alone, needed in (('url = "https://a"', "webhook.secret"), ('secret = "hook"', "webhook.url")):
        with pytest.raises(ConfigurationError, match=f"there is no {needed} with it"):
            load(tmp_path, f"[webhook]\n{alone}")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://a", "is no URL"),
        ("https://", "is no URL"),
        ("https://a b", "is no URL"),
        ("https://a:99999/", "is no URL"),
        ("https://ä.org", "is no URL"),
        ("https://u:p@a/", "must not have a user"),
        ("https://a/#x", "never sent"),
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
        ('[tracing]\nendpoint = "a:4317"', "is no URL"),
        ('[tracing]\nheaders_file = "/dev/null"', "headers_file"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            load(tmp_path, wrong)


def test_a_file_that_everybody_can_write(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").touch()
    (tmp_path / "runner.toml").chmod(0o666)
    [warning] = warnings(load(tmp_path))
    assert "everybody on this machine can write to this file" in warning


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
