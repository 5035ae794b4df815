"""What every test may use.

`require` is how a test asks for something that a machine may lack. On a laptop the test is skipped with the reason; where
the name stands in the environment variable RUNNER_REQUIRE (CI sets it) it fails, so that nothing is skipped there unnoticed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on who else uses the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

Require = Callable[[str], None]


def _tmpfs() -> str | None:
    from runner.config import is_tmpfs

    return None if is_tmpfs("/dev/shm") and os.access("/dev/shm", os.W_OK) else "there is no writable tmpfs at /dev/shm"


def _pidfd() -> str | None:
    return None if hasattr(os, "pidfd_open") else "this system has no pidfd"


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"the program {name!r} is not installed"


def _mount() -> str | None:
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "file systems cannot be mounted here"


def _netns() -> str | None:
    if shutil.which("ip") is None:
        return "the program 'ip' is not installed"
    # A namespace in which a pair of interfaces can be made; it goes with the command.
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "two"],
        capture_output=True,
        check=False,
    )
    return None if tried.returncode == 0 else "network namespaces cannot be made here"


def _machines() -> str | None:
    from tests.chaos.forwarding import apart

    return apart.missing()


def _ptrace() -> str | None:
    try:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    except OSError:
        return None
    return None if scope == "0" or os.geteuid() == 0 else "processes may be traced by their parents alone"


def _cgroup2() -> str | None:
    from runner.process.supervisor import cgroups

    try:
        cgroups.Room.open("0" * 32).close()
    except cgroups.UnavailableError as error:
        return str(error)
    return None


def _seccomp() -> str | None:
    from tests import apart

    return apart.seccomp_missing()


def _systemd() -> str | None:
    from tests.integration import machine

    return machine.missing()


def docker_base() -> str:
    """The image that ours is built on in tests."""
    return os.environ.get("RUNNER_DOCKER_BASE", "python:3.12-slim")


def _docker() -> str | None:
    if missing := _program("docker")():
        return missing
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "there is no Docker that this user may use"
    base = docker_base()
    if subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False).returncode != 0:
        return f"the image {base!r} is not here: docker pull {base}"
    return None


NEEDS: dict[str, Callable[[], str | None]] = {
    "tmpfs": _tmpfs,
    "pidfd": _pidfd,
    "make": _program("make"),
    "parallel": _program("parallel"),
    "bash": _program("bash"),
    "zsh": _program("zsh"),
    "fish": _program("fish"),
    "dot": _program("dot"),
    "cc": _program("cc"),
    "docker": _docker,
    "git": _program("git"),
    "mount": _mount,
    "netns": _netns,
    "machines": _machines,
    "strace": _program("strace"),
    "setpriv": _program("setpriv"),
    "ptrace": _ptrace,
    "cgroup2": _cgroup2,
    "seccomp": _seccomp,
    "systemd": _systemd,
    "root": lambda: None if os.geteuid() == 0 else "only root can run programs as other users",
    "unprivileged": lambda: None if os.geteuid() != 0 else "root ignores the permissions of files",
}
"""What can be required: a function that says why it is missing here, or None."""


def required() -> set[str]:
    """The names in RUNNER_REQUIRE, which commas or blanks part."""
    return set(os.environ.get("RUNNER_REQUIRE", "").replace(",", " ").split())


def pytest_configure() -> None:
    unknown = required() - NEEDS.keys()
    if unknown:
        raise pytest.UsageError(f"RUNNER_REQUIRE names {sorted(unknown)}; known are {sorted(NEEDS)}")


@pytest.fixture(scope="session")
def require() -> Require:
    """`require("tmpfs")` ends the test here if the machine has none: skipped on a laptop, failed in CI."""
    missing_of = cache(lambda name: NEEDS[name]())

    def require(name: str) -> None:
        missing = missing_of(name)
        if missing is None:
            return
        if name in required():
            pytest.fail(f"RUNNER_REQUIRE names {name!r}, but {missing}")
        pytest.skip(missing)

    return require


@pytest.fixture(params=["marker", "cgroup2"])
def containment(request: pytest.FixtureRequest, require: Require) -> str:
    """Every way in which a supervisor keeps the processes of an attempt together."""
    if request.param == "cgroup2":
        require("cgroup2")
    return str(request.param)


_END_SECONDS = 10.0


@pytest.fixture(scope="session", autouse=True)
def _no_supervisor_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One whose node was killed keeps what that did not fetch, and itself, for the next node: there is none behind the tests."""
    yield
    below = os.fsencode(tmp_path_factory.getbasetemp())
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if any(word.startswith(below) and word.endswith(b"supervisor/__main__.py") for word in words):
                pids.append(int(path.parent.name))
                os.kill(pids[-1], signal.SIGTERM)  # it ends what it runs; one that is killed could not
    until = time.monotonic() + _END_SECONDS
    while (pids := [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
