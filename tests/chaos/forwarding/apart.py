"""A machine for each of two nodes, and a line between them that the kernel plays: namespaces, which are gone with the last process in
them, however that ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ORIGIN_ADDRESS = "10.213.3.1"
EXECUTOR_ADDRESS = "10.213.3.2"
_PREFIX_BITS = 24
_DEVICE = "out"
_NARROW = f"tc qdisc add dev {_DEVICE} root tbf rate 64kbit burst 2kb latency 200ms"
_EVERYTHING = f'iifname "{_DEVICE}" meta l4proto tcp'

_MARK = "alone-with-two-nodes"
_ALONE = (
    *("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c"),
    'mkdir -p /run/netns && mount -t tmpfs none /run/netns && mount -t tmpfs none /dev/shm && ip link set lo up && "$@"; exit $?',
    _MARK,
)
"""Becomes a command that has its own mounts, processes and network. It is not the first of these processes itself, for that has to
reap what others leave; when it ends the rest is killed."""

_FAR_SECONDS = 10_000_000
_TRIED = f"""
set -e
ip netns add tried
ip link add name {_DEVICE} type veth peer name {_DEVICE} netns tried
{_NARROW}
nft 'table inet line {{ chain heard {{ type filter hook input priority 0; meta l4proto tcp reject with tcp reset; }}; }}'
test "$(unshare --time --boottime {_FAR_SECONDS} cut -d. -f1 /proc/uptime)" -ge {_FAR_SECONDS}
"""
"""For the shell: whether the kernel has what a street is made of, and a program can be given another clock."""


def alone(command: Sequence[str]) -> Sequence[str]:
    return (*_ALONE, *command)


def missing() -> str | None:
    """What such a play needs and this machine has not."""
    if os.geteuid() != 0:
        return "only root can make namespaces"
    for name in ("unshare", "ip", "nft", "tc"):
        if shutil.which(name) is None:
            return f"the program {name!r} is not installed"
    tried = subprocess.run(alone(("sh", "-c", _TRIED)), capture_output=True, text=True, check=False)
    return f"two machines cannot be played here: {tried.stderr.strip()}" if tried.returncode != 0 else None


class Street:
    """Goes from this process's network, which is the origin's, to that of the executor. Used inside `with`, by who is alone."""

    def __init__(self) -> None:
        self._name = f"runner-{os.getpid()}-executor"
        self._there = ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Street:
        # What comes changes this network, and kills whoever is in it: it must not be that of the machine.
        first = Path("/proc/1/cmdline").read_bytes().split(b"\0")
        assert _MARK.encode() in first, "who makes a street has to be alone"
        _run("ip", "netns", "add", self._name)
        try:
            _run("ip", "link", "add", "name", _DEVICE, "type", "veth", "peer", "name", _DEVICE, "netns", self._name)
            for end, address in (((), ORIGIN_ADDRESS), (self._there, EXECUTOR_ADDRESS)):
                _run(*end, "ip", "address", "add", f"{address}/{_PREFIX_BITS}", "dev", _DEVICE)
                for link in ("lo", _DEVICE):
                    _run(*end, "ip", "link", "set", link, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "link", "delete", _DEVICE], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", self._name], capture_output=True, check=False)

    def inside(self, side: str) -> Sequence[str]:
        """A command that becomes another one at that end."""
        return self._there if side == "executor" else ()

    def network(self, side: str) -> int:
        """What tells the network of that end from all others."""
        path = f"/run/netns/{self._name}" if side == "executor" else "/proc/self/ns/net"
        return os.stat(path).st_ino

    # Faults; each stays until it is mended.

    def drop(self) -> None:
        """Neither hears the other, and nobody is told."""
        self.deafen("origin")
        self.deafen("executor")

    def deafen(self, side: str) -> None:
        """It hears nothing any more, and is heard."""
        self._filter(side, f"{_EVERYTHING} drop")

    def refuse(self) -> None:
        """What the origin sends is answered with a reset, of which the executor does not hear."""
        self._filter("executor", f"{_EVERYTHING} reject with tcp reset")

    def narrow(self) -> None:
        """A few kilobytes a second, both ways."""
        for end in ((), self._there):
            _run(*end, *_NARROW.split())

    def mend(self) -> None:
        for end in ((), self._there):
            _run(*end, "nft", "flush", "ruleset")
            subprocess.run([*end, "tc", "qdisc", "del", "dev", _DEVICE, "root"], capture_output=True, check=False)

    def _filter(self, side: str, rule: str) -> None:
        rules = f"table inet line {{\nchain heard {{\ntype filter hook input priority 0\n{rule}\n}}\n}}\n"
        _run(*self.inside(side), "nft", "-f", "-", given=rules)


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
