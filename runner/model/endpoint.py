"""Where a node is, and what it takes to speak with it."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from msgspec import Struct

from runner.errors import UsageError

UNIX = "unix:"
EXPECTED = "expected host:port, [v6 address]:port or unix:/path/of/a/socket"
LONGEST_SOCKET_PATH_BYTES = 107
"""What fits into a `sockaddr_un`."""


class Tcp(NamedTuple):
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether no network lies between: what is sent there in plain text nobody else reads."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Unix(NamedTuple):
    path: str


Address = Tcp | Unix


class Endpoint(Struct, frozen=True, kw_only=True):
    """`target` is `host:port` or `unix:/path`. `ca`, `certificate` and `key` are PEM files: whom the node's certificate has to be
    signed by (else one of the well-known authorities), and one's own; `server_name` is the name that the node's certificate
    has to be for, where `target` has another. `token` is a bearer token, `token_file` a file that holds one and is read anew for
    each call. TLS is spoken with everything but sockets and, unless `ca` or `certificate` is given, this very machine; `insecure` does
    without, and lets everybody in between read and change what is said."""

    target: str
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None
    token: str | None = None
    token_file: str | None = None
    insecure: bool = False

    @property
    def address(self) -> Address:
        """Raises UsageError."""
        return parse(self.target)

    @property
    def is_encrypted(self) -> bool:
        address = self.address
        if isinstance(address, Unix) or self.insecure:
            return False
        return not address.is_loopback or self.ca is not None or self.certificate is not None

    def checked(self) -> Endpoint:
        """Itself, where its parts fit together. Raises UsageError."""
        address = self.address
        if (self.certificate is None) != (self.key is None):
            raise UsageError(f"{self.target}: a certificate and its key go together: give both, or none")
        if self.token is not None and self.token_file is not None:
            raise UsageError(f"{self.target}: there are a token and a file with a token: give one of them")
        with_tls = [name for name in ("ca", "certificate", "server_name") if getattr(self, name) is not None]
        if with_tls and (self.insecure or isinstance(address, Unix)):
            why = "insecure does without TLS" if self.insecure else "no TLS is spoken on a unix socket"
            raise UsageError(f"{self.target}: {why}: leave out {', '.join(with_tls)}")
        return self

    def __repr__(self) -> str:
        return f"Endpoint(target={self.target!r})"  # and no token


def parse(target: str) -> Address:
    """Raises UsageError."""
    if target.startswith(UNIX):
        path = target.removeprefix(UNIX)
        if not path or "\0" in path:
            raise UsageError(f"{target!r} names no socket: {EXPECTED}")
        if len(path.encode(errors="surrogateescape")) > LONGEST_SOCKET_PATH_BYTES:
            raise UsageError(f"the path of the socket {path} is longer than {LONGEST_SOCKET_PATH_BYTES} bytes")
        return Unix(path)
    scheme, slashes, rest = target.partition("://")
    if slashes:
        place = rest.split("/", 1)[0] or "onprem-1.example"
        example = place if ":" in place else f"{place}:8443"
        raise UsageError(
            f"{target!r}: a node is named without {scheme}:// and a path, e.g. {example}; "
            "whether TLS is spoken is told by the other options"
        )
    host, colon, port = target.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"{target!r}: an IPv6 address is written in brackets, e.g. [::1]:8443")
    if not colon or not host or not host.isprintable() or set(host) & set("/ @?#[]"):
        raise UsageError(f"{target!r} is not the place of a node: {EXPECTED}")
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise UsageError(f"{target!r}: {port!r} is no port: a number from 1 to 65535")
    return Tcp(host, int(port))
