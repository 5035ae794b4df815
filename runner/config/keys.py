"""All that can be configured, once. What is read, from where, by which name, and the table in docs/configuration.md follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from msgspec import Struct

from runner.config import kinds, machine
from runner.config.kinds import Kind
from runner.config.service import DEFAULT_RULES, LOST_AFTER_SECONDS, Limits, Retention
from runner.config.settings import KEEP_DAYS, KEEP_RUNS, Containment, LogFormat, LogLevel
from runner.model.limits import Limits as DocumentLimits
from runner.model.log import LEAST_LOG_LIMIT_BYTES

PREFIX = "RUNNER_"
CONFIG_VARIABLE = "RUNNER_CONFIG"
"""Names the file; it is no key."""

SLOTS_PER_CORE = 4
LARGEST_COUNT = 1_000_000_000
LARGEST_MESSAGE_BYTES = 1 << 30


class Computed(Struct, frozen=True, kw_only=True):
    """A default that depends on where the runner is started: how, and in words."""

    words: str
    of: Callable[[Mapping[str, str]], Any]


class Key(Struct, frozen=True, kw_only=True):
    """`path` leads to it in `runner.toml`. `about` is a sentence without its full stop. A default of None is «not set». With
    `reloads` a running node takes a new value when it is told to reload. With `option` it is an option of the command line."""

    path: tuple[str, ...]
    kind: Kind
    default: Any = None
    about: str
    example: str
    reloads: bool = False
    option: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + "_".join(self.path).upper()

    @property
    def flag(self) -> str:
        return "--" + "-".join(self.path).replace("_", "-")


def _limit(name: str, kind: Kind, about: str, example: str, *, reloads: bool = False, attribute: str = "") -> Key:
    default = getattr(Limits(), attribute or name)
    return Key(path=("limits", name), kind=kind, default=default, about=about, example=example, reloads=reloads)


STATE_DIR = Key(
    path=("state_dir",),
    kind=kinds.PATH,
    default=Computed(words="`$XDG_STATE_HOME/runner`, else `~/.local/state/runner`", of=machine.default_state_dir),
    about="where the state is kept, for one node at a time",
    example='"/var/lib/runner"',
    option=True,
)
MAX_PARALLEL = Key(
    path=("max_parallel",),
    kind=kinds.number(1, 999_999),
    default=Computed(
        words="4 a core", of=lambda _: min(SLOTS_PER_CORE * machine.available_cores(), machine.possible_tasks())
    ),
    about="how many tasks may run at once",
    example="16",
    option=True,
)
LOG_LIMIT = Key(
    path=("log_limit",),
    kind=kinds.data_size(LEAST_LOG_LIMIT_BYTES, zero=True),
    default=4 << 30,
    about="how much is kept of what one attempt of a task prints; 0 for all of it",
    example='"100MiB"',
)
TEMPLATE_MILLISECONDS = Key(
    path=("template_milliseconds",),
    kind=kinds.number(1, 60_000),
    default=40,
    about="what the templates of one attempt may cost, by an estimate",
    example="100",
)
CONTAINMENT = Key(
    path=("containment",),
    kind=kinds.word(*get_args(Containment)),
    default="auto",
    about="what keeps the processes of an attempt together: control groups, marks, or the first of them that can be had",
    example='"cgroup2"',
)

NODE_KEYS = (
    Key(
        path=("name",),
        kind=kinds.RUNNER_NAME,
        default=Computed(words="the name of the machine", of=lambda _: machine.host_name()),
        about="how results and other runners call this one",
        example='"build-1"',
        option=True,
    ),
    Key(
        path=("labels",),
        kind=kinds.LABELS,
        default={},
        about="what tasks can ask of a runner",
        example='{site = "eu", gpu = "true"}',
        reloads=True,
    ),
    Key(
        path=("peers",),
        kind=kinds.PEERS,
        default={},
        about="the runners that may be forwarded to, by name, see below",
        example='{onprem-1 = {target = "onprem-1.example:8443", ca = "ca.pem"}}',
        reloads=True,
    ),
    Key(
        path=("lost_after",),
        kind=kinds.lasting(1.0),
        default=LOST_AFTER_SECONDS,
        about="how long a peer may be away before its tasks are given up",
        example='"1h"',
    ),
    STATE_DIR,
    Key(
        path=("listen",),
        kind=kinds.ADDRESSES,
        default=(),
        about="where it listens: `host:port`, `[v6]:port`, `unix:/path`; without any, on `runner.sock` in the state directory",
        example='["127.0.0.1:7070", "unix:/run/runner/runner.sock"]',
        option=True,
    ),
    Key(
        path=("insecure",),
        kind=kinds.FLAG,
        default=False,
        about="speak plain text also where others can listen in",
        example="true",
        option=True,
    ),
    Key(
        path=("drain",),
        kind=kinds.DURATION,
        default=0.0,
        about="how long a node that is asked to end waits for what runs; what runs longer goes on under the next node",
        example='"30s"',
        reloads=True,
        option=True,
    ),
    Key(
        path=("keepalive",),
        kind=kinds.lasting(1.0),
        default=30.0,
        about="how long a connection may be silent before its caller is asked whether he is still there; one who does not answer "
        "within two thirds of that is gone, and what he watched is let go of",
        example='"10s"',
    ),
    MAX_PARALLEL,
    LOG_LIMIT,
    TEMPLATE_MILLISECONDS,
    CONTAINMENT,
    Key(
        path=("log_format",),
        kind=kinds.word(*get_args(LogFormat)),
        default="auto",
        about="how the node tells what it does, on stderr; `auto` is text for a terminal, else JSON",
        example='"json"',
        option=True,
    ),
    Key(
        path=("log_level",),
        kind=kinds.word(*get_args(LogLevel)),
        default="info",
        about="from which level on it tells it",
        example='"warning"',
        reloads=True,
        option=True,
    ),
    Key(
        path=("tls", "certificate"),
        kind=kinds.PATH,
        about="the node's certificate and what it was issued by, PEM; TLS is spoken where there is one",
        example='"node.pem"',
        reloads=True,
    ),
    Key(
        path=("tls", "key"),
        kind=kinds.PATH,
        about="the private key of that certificate, PEM",
        example='"node.key"',
        reloads=True,
    ),
    Key(
        path=("tls", "client_ca"),
        kind=kinds.PATH,
        about="who issues the certificates of callers, PEM; without it callers need a token",
        example='"ca.pem"',
        reloads=True,
    ),
    Key(
        path=("tls", "crl"),
        kind=kinds.PATH,
        about="which of these certificates were revoked, PEM; read anew whenever it changes",
        example='"crl.pem"',
        reloads=True,
    ),
    _limit(
        "message",
        kinds.data_size(DocumentLimits().document_bytes, LARGEST_MESSAGE_BYTES),
        "how large one request may be",
        '"64MiB"',
        attribute="message_bytes",
    ),
    _limit(
        "groups", kinds.number(1, LARGEST_COUNT), "how many groups there may be that are not over", "1000", reloads=True
    ),
    _limit("groups_per_caller", kinds.number(1, LARGEST_COUNT), "the same, of one caller", "100", reloads=True),
    _limit(
        "documents",
        kinds.data_size(1 << 20),
        "how large the documents and inputs of all groups that are not over may be together",
        '"8GiB"',
        attribute="document_bytes",
        reloads=True,
    ),
    _limit(
        "documents_per_caller",
        kinds.data_size(1 << 20),
        "the same, of one caller",
        '"256MiB"',
        attribute="document_bytes_per_caller",
        reloads=True,
    ),
    _limit(
        "streams",
        kinds.number(1, LARGEST_COUNT),
        "how many watches and followed logs there may be at once",
        "500",
        reloads=True,
    ),
    _limit("streams_per_caller", kinds.number(1, LARGEST_COUNT), "the same, of one caller", "50", reloads=True),
    _limit("shells", kinds.number(0, LARGEST_COUNT), "how many shells there may be at once", "5", reloads=True),
    _limit(
        "shell_idle",
        kinds.DURATION,
        "for how long nothing may be said in a shell before it is ended; 0 for ever",
        '"10m"',
        attribute="shell_idle_seconds",
        reloads=True,
    ),
    _limit(
        "workspace",
        kinds.data_size(1),
        "how large one uploaded workspace may be, unpacked",
        '"4GiB"',
        attribute="workspace_bytes",
    ),
    _limit("workspace_entries", kinds.number(1, LARGEST_COUNT), "how many files and folders may be in one", "20000"),
    Key(
        path=("retention", "age"),
        kind=kinds.DURATION,
        default=Retention().age_seconds,
        about="for how long groups that are over are kept; 0 for ever",
        example='"7d"',
        reloads=True,
    ),
    Key(
        path=("retention", "groups"),
        kind=kinds.number(0, LARGEST_COUNT),
        default=Retention().groups,
        about="how many groups that are over are kept; 0 for all of them",
        example="1000",
        reloads=True,
    ),
    Key(
        path=("retention", "size"),
        kind=kinds.data_size(0),
        default=Retention().bytes,
        about="how much their logs and the database may take together; 0 for no limit",
        example='"100GiB"',
        reloads=True,
    ),
    Key(
        path=("retention", "workspaces"),
        kind=kinds.DURATION,
        default=Retention().workspace_seconds,
        about="for how long the workspaces of groups that are over are kept, for `runner shell`; 0 for not at all",
        example='"1h"',
        reloads=True,
    ),
    Key(
        path=("metrics", "listen"),
        kind=kinds.ADDRESSES,
        default=(),
        about="where Prometheus finds `/metrics`; nowhere by default",
        example='["127.0.0.1:9464"]',
    ),
    Key(
        path=("tracing", "endpoint"),
        kind=kinds.ORIGIN,
        about="who is given traces, by OTLP over gRPC; nobody by default",
        example='"http://127.0.0.1:4317"',
    ),
    Key(
        path=("tracing", "insecure"),
        kind=kinds.FLAG,
        default=False,
        about="give them in plain text also where others can listen in",
        example="true",
    ),
    Key(
        path=("tracing", "headers_file"),
        kind=kinds.PATH,
        about="the file of what is sent with them: on each line a `name: value`, a token say",
        example='"tracing.headers"',
    ),
    Key(
        path=("tracing", "ca"),
        kind=kinds.PATH,
        about="who issues the certificate of the endpoint, PEM, where gRPC does not know it",
        example='"ca.pem"',
    ),
    Key(
        path=("webhook", "url"),
        kind=kinds.URL,
        about="who is told of groups that are over",
        example='"https://example.org/hooks/runner"',
        reloads=True,
    ),
    Key(
        path=("webhook", "secret"),
        kind=kinds.PATH,
        about="the file of what its messages are signed with: `whsec_` and at least 24 bytes in base64",
        example='"webhook.secret"',
        reloads=True,
    ),
    Key(
        path=("webhook", "ca"),
        kind=kinds.PATH,
        about="who issues the certificate of that URL, PEM, where the system does not know it",
        example='"ca.pem"',
        reloads=True,
    ),
    Key(
        path=("rules",),
        kind=kinds.RULES,
        default=DEFAULT_RULES,
        about="what callers may do, see below",
        example='[{callers = ["ci-*"], scopes = ["submit", "read", "cancel"], types = ["os_exec"]}]',
        reloads=True,
    ),
)
"""Of a node that serves, in the order in which they are shown."""

RUN_KEYS = (
    STATE_DIR,
    MAX_PARALLEL,
    LOG_LIMIT,
    TEMPLATE_MILLISECONDS,
    CONTAINMENT,
    Key(
        path=("keep_days",),
        kind=kinds.number(0, 100_000),
        default=KEEP_DAYS,
        about="for how many days finished runs are kept",
        example="7",
    ),
    Key(
        path=("keep_runs",),
        kind=kinds.number(0, 1_000_000),
        default=KEEP_RUNS,
        about="how many finished runs are kept at most",
        example="1000",
    ),
)
"""Of `runner run`, which reads no file: from the environment alone."""
