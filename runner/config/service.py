"""What a node that serves is told by `runner.toml`: where it listens, whom it trusts, what it allows, how much it takes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from runner.model.endpoint import Endpoint

SOCKET_NAME = "runner.sock"
"""In the state directory: where a node listens that is told of no address. Only its own user and root can reach it."""


LOST_AFTER_SECONDS = 300.0


class Scope(StrEnum):
    """What a caller may do with his own groups, and with `admin` beside it with everybody's."""

    SUBMIT = "submit"
    READ = "read"
    CANCEL = "cancel"
    """Cancel groups, send signals to tasks."""
    REMOVE = "remove"
    """Remove groups that are over, with their logs."""
    SHELL = "shell"
    """Have shells where tasks run. In no rule unless somebody writes it there."""
    REVEAL = "reveal"
    """Have what is confidential of a task in a shell. In no rule unless somebody writes it there."""
    DISPATCH = "dispatch"
    """Be an origin: have tasks of his groups carried out here. In no rule unless somebody writes it there."""
    ADMIN = "admin"
    """Widens what the others allow to everybody's groups; alone it allows nothing."""


class Tls(Struct, frozen=True, kw_only=True):
    """PEM files; read anew when the node is told to reload. Callers are asked for a certificate of `client_ca` where there is
    one, else they need a token; `crl` lists those that its authorities have taken back."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    crl: Path | None = None


ANYWHERE = ("*",)


class Rule(Struct, frozen=True, kw_only=True):
    """What callers whose names fit one of the patterns may do: `*` and `?` as in a shell, where they fit no `/`, so that other
    nodes need a pattern such as `node/*`. `types` are patterns of task types. `users` are patterns of whom their tasks may run
    as (`spec.user`) beside the runner's own user; only with `*` may that be a template. `targets` are patterns of the runners that their
    groups and tasks may be forwarded to; only with `*` by a template or by labels. `on_behalf_of` are patterns of who has
    submitted, to another runner, what that dispatches here."""

    callers: tuple[str, ...]
    scopes: frozenset[Scope]
    types: tuple[str, ...] = ("*",)
    users: tuple[str, ...] = ()
    targets: tuple[str, ...] = ANYWHERE
    on_behalf_of: tuple[str, ...] = ("*",)


DEFAULT_SCOPES = frozenset({Scope.SUBMIT, Scope.READ, Scope.CANCEL, Scope.REMOVE})
DEFAULT_RULES = (Rule(callers=("*",), scopes=DEFAULT_SCOPES),)
"""Where `runner.toml` has no rule: whoever proves who he is works with his own groups."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much one node takes. Who asks for more is told the limit and when to come back."""

    message_bytes: int = 40 << 20
    """Of one request: a document of 32 MiB and its inputs."""
    groups: int = 20_000
    """That are not over."""
    groups_per_caller: int = 10_000
    document_bytes: int = 4 << 30
    """Of the documents and inputs of all groups that are not over, which are in memory."""
    document_bytes_per_caller: int = 1 << 30
    streams: int = 4_000
    """Watches and followed logs at once."""
    streams_per_caller: int = 1_000
    shells: int = 20
    """At once."""
    shell_idle_seconds: float = 1800.0
    """How long nothing may be said in one, by nobody; 0 for ever."""
    workspace_bytes: int = 1 << 30
    """Of one upload, unpacked."""
    workspace_entries: int = 100_000


class Retention(Struct, frozen=True, kw_only=True):
    """How long groups that are over are kept, and how many: 0 is no limit. The ones that have been over for the longest time go
    first."""

    age_seconds: float = 30 * 86_400.0
    groups: int = 100_000
    bytes: int = 20 << 30
    """Of their logs and the database together."""
    workspace_seconds: float = 0.0
    """How long their workspaces stay."""


class Metrics(Struct, frozen=True, kw_only=True):
    """Where Prometheus finds what a node counts: `listen` as that of `Service`, empty for nowhere."""

    listen: tuple[str, ...] = ()


class Tracing(Struct, frozen=True, kw_only=True):
    """Who is given the spans of what a node does, by OTLP over gRPC: None for nobody. `headers_file` holds what he wants to be told
    with each call, a token say; `ca` are the issuers of his certificate, PEM, None for those that gRPC knows."""

    endpoint: str | None = None
    headers_file: Path | None = None
    ca: Path | None = None


class Webhook(Struct, frozen=True, kw_only=True):
    """Whom a node tells of groups that are over: None for nobody. `secret` is the file of what messages are signed with; `ca` are
    the issuers of its certificate, PEM, None for those that the system knows."""

    url: str | None = None
    secret: Path | None = None
    ca: Path | None = None


class Service(Struct, frozen=True, kw_only=True):
    """`name` is how results call this runner. `listen` holds `host:port`, `[v6]:port` and `unix:/path`; empty for the socket in the
    state directory alone. Plain text is spoken on sockets and loopback; anywhere else only with `tls`, or if `insecure`."""

    name: str
    labels: Mapping[str, str] = {}
    peers: Mapping[str, Endpoint] = {}
    """By the names that results call them by."""
    lost_after: float = LOST_AFTER_SECONDS
    """In seconds: how long a peer may be away before its attempts are given up."""
    listen: tuple[str, ...] = ()
    tls: Tls | None = None
    insecure: bool = False
    rules: tuple[Rule, ...] = DEFAULT_RULES
    limits: Limits = Limits()
    retention: Retention = Retention()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    webhook: Webhook = Webhook()
    drain_seconds: float = 0.0
    """How long a node that is asked to end waits for what runs. What runs longer is left to the supervisor, and to the next node."""
    keepalive_seconds: float = 30.0
    """How long a connection may be silent before its caller is asked whether he is there; after two thirds of that he is not."""
