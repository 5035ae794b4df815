"""Where a node listens: `host:port`, `[v6]:port` or `unix:/path`."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

EXPECTED = "expected host:port, [v6]:port or unix:/path"

_UNIX = "unix:"
_NETWORK = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", re.ASCII)


class Address(Struct, frozen=True, kw_only=True):
    """Either `path`, of a socket, or `host` (of IPv6 without brackets) and `port` (0 for any that is free)."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether what is spoken there cannot leave the machine."""
        if self.path is not None or self.host.lower() == "localhost":
            return True
        import ipaddress  # takes a while, and only a node that serves needs it

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """Raises ValueError with a message that reads well behind the name of the field."""
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path or "\0" in path:
            raise ValueError(EXPECTED)
        return Address(path=Path(path))
    match = _NETWORK.fullmatch(text)
    if match is None:
        hint = "; an IPv6 address stands in brackets" if text.count(":") > 1 else ""
        raise ValueError(f"{EXPECTED}{hint}")
    if match[1]:
        import ipaddress

        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            raise ValueError(f"[{match[1]}] is no IPv6 address") from None
    if int(match[3]) > 65535:
        raise ValueError("a port is at most 65535")
    return Address(host=match[1] or match[2], port=int(match[3]))
