"""Two network namespaces with a router between them, which can be told to drop everything: a line that is cut without a word."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

NODE_ADDRESS = "10.213.1.2"
_CALLER_ADDRESS = "10.213.2.2"


@dataclass(frozen=True, kw_only=True)
class Line:
    """`node` and `caller` are what commands have to begin with to run at its ends."""

    node: Sequence[str]
    caller: Sequence[str]
    _router: Sequence[str]

    def cut(self) -> None:
        """Neither end hears of it."""
        self._forward(0)

    def mend(self) -> None:
        self._forward(1)

    def _forward(self, on: int) -> None:
        _run(*self._router, "sh", "-c", f"echo {on} > /proc/sys/net/ipv4/ip_forward")


@contextmanager
def line() -> Iterator[Line]:
    """For tests that `require("netns")`."""
    names = [f"runner-{os.getpid()}-{end}" for end in ("node", "router", "caller")]
    node, router, caller = (("ip", "netns", "exec", name) for name in names)
    try:
        for name in names:
            _run("ip", "netns", "add", name)
        for end, at, net, address in (
            (node, names[0], "1", NODE_ADDRESS),
            (caller, names[2], "2", _CALLER_ADDRESS),
        ):
            _run(*router, "ip", "link", "add", "name", f"to{net}", "type", "veth", "peer", "name", "out", "netns", at)
            _run(*router, "ip", "address", "add", f"10.213.{net}.1/24", "dev", f"to{net}")
            _run(*router, "ip", "link", "set", f"to{net}", "up")
            for link in ("lo", "out"):
                _run(*end, "ip", "link", "set", link, "up")
            _run(*end, "ip", "address", "add", f"{address}/24", "dev", "out")
            _run(*end, "ip", "route", "add", "default", "via", f"10.213.{net}.1")
        made = Line(node=node, caller=caller, _router=router)
        made.mend()
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
