"""Hosts to try the contract of `ProcessHost` on, and programs that behave alike on each of them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from drivers.base import ProcessHost, ProcessSpec
from runner.model.log import Stream
from runner.process.fake import FakeHost, FakeRun
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from tests import apart

PATH = "/usr/local/bin:/usr/bin:/bin"


class Sink:
    """Keeps what is written; tests wait for it. As a log does, one that continues a `former` one goes on behind it."""

    def __init__(self, former: Sink | None = None) -> None:
        self.data: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self.ends: dict[Stream, int] = dict(former.ends) if former else {"stdout": 0, "stderr": 0}
        self._grown = asyncio.Event()

    def write(self, stream: Stream, data: bytes, end: int | None = None) -> None:
        self.data[stream] += data
        self.ends[stream] = self.ends[stream] if end is None else end
        self._grown.set()

    def foresee(self, stream: Stream, data: bytes) -> None:
        pass

    def taken(self, stream: Stream) -> int:
        return self.ends[stream]

    def limit(self, bytes: int) -> None:
        pass

    @property
    def shortened(self) -> bool:
        return False

    def close(self) -> None:
        pass

    async def until(self, text: bytes, stream: Stream = "stdout") -> None:
        async with asyncio.timeout(20):
            while text not in self.data[stream]:
                self._grown.clear()
                await self._grown.wait()


class Lab(ABC):
    """One implementation: how to open it, and its programs. Each of them writes `ready` to stdout before it stays."""

    real = True
    needs: Sequence[str] = ()
    """What has to be required of the machine."""
    proves = False
    """Whether it has to be told by control groups that nothing is left."""

    def play(self, folder: Path, work: Callable[[], None]) -> None:
        """Do all that is to be done with hosts that are opened in `folder`, where that has to be done."""
        work()

    @asynccontextmanager
    @abstractmethod
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        yield NotImplemented

    def exits(self, code: int) -> list[str]:
        return ["sh", "-c", f"exit {code}"]

    def says(self, stdout: str, stderr: str) -> list[str]:
        return ["sh", "-c", f"printf %s '{stdout}'; printf %s '{stderr}' >&2"]

    def repeats(self) -> list[str]:
        """Writes what it reads."""
        return ["cat"]

    def stays(self) -> list[str]:
        return ["sh", "-c", "echo ready; exec sleep 1000"]

    def ignores_sigterm(self) -> list[str]:
        return ["sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"]

    def obeys(self, code: int) -> list[str]:
        """Ends with this code when it gets SIGTERM."""
        return ["sh", "-c", f"trap 'exit {code}' TERM; echo ready; while :; do sleep 0.02; done"]


class FakeLab(Lab):
    real = False

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        programs = {
            "exits": _exits,
            "says": _says,
            "repeats": _repeats,
            "stays": _stays,
            "ignores_sigterm": _ignores_sigterm,
            "obeys": _obeys,
        }
        async with FakeHost(programs) as host:
            yield host

    def exits(self, code: int) -> list[str]:
        return ["exits", str(code)]

    def says(self, stdout: str, stderr: str) -> list[str]:
        return ["says", stdout, stderr]

    def repeats(self) -> list[str]:
        return ["repeats"]

    def stays(self) -> list[str]:
        return ["stays"]

    def ignores_sigterm(self) -> list[str]:
        return ["ignores_sigterm"]

    def obeys(self, code: int) -> list[str]:
        return ["obeys", str(code)]


class PrivateLab(Lab):
    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        async with await SupervisorHost.start_private(folder) as host:
            yield host


class PoorLab(PrivateLab):
    """On a system that lacks some calls."""

    needs = ("seccomp",)

    def __init__(self, *missing: str, error: int) -> None:
        self._missing = missing
        self._error = error

    def play(self, folder: Path, work: Callable[[], None]) -> None:
        apart.run(work, apart.without(*self._missing, error=self._error))


class NobodyLab(PrivateLab):
    """As a user without rights."""

    needs: Sequence[str] = ("root", "mount")

    def play(self, folder: Path, work: Callable[[], None]) -> None:
        apart.run(work, apart.as_nobody(_existing(folder)))


class DelegatedLab(NobodyLab):
    """The same, with a subtree of control groups."""

    needs = ("root", "mount", "cgroup2")
    proves = True

    def play(self, folder: Path, work: Callable[[], None]) -> None:
        with apart.delegated() as group:
            apart.run(work, apart.within(group), apart.as_nobody(_existing(folder)))

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        async with await SupervisorHost.start_private(folder, containment="cgroup2") as host:
            yield host


class MarkedLab(Lab):
    """Without control groups, also where there are some."""

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        async with await SupervisorHost.start_private(folder, containment="marker") as host:
            yield host


class SharedLab(Lab):
    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        async with await SupervisorHost.connect(folder, idle_seconds=0.0) as host:
            try:
                yield host
            finally:
                os.kill(host.pid, signal.SIGTERM)


class LastingLab(Lab):
    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        async with await open_lasting(folder) as host:
            yield host


class RenewedLab(Lab):
    """The second life of a host whose first supervisor was killed."""

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[ProcessHost]:
        async with await open_lasting(folder) as host:
            former = host.incarnation
            assert host.pid is not None
            os.kill(host.pid, signal.SIGKILL)
            while host.incarnation == former:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
            yield host


async def open_lasting(folder: Path) -> LastingHost:
    """A host whose supervisors are private ones."""
    return await LastingHost.open(lambda incarnation: SupervisorHost.start_private(folder, incarnation=incarnation))


LABS: Mapping[str, Lab] = {
    "fake": FakeLab(),
    "private": PrivateLab(),
    "marked": MarkedLab(),
    "without tee": PoorLab("tee", error=errno.ENOSYS),
    "without pidfd": PoorLab("pidfd_open", "memfd_create", error=errno.ENOSYS),
    "forbidden much": PoorLab(*("tee", "splice", "pidfd_send_signal", "memfd_create", "subreaper"), error=errno.EPERM),
    "nobody": NobodyLab(),
    "delegated": DelegatedLab(),
    "shared": SharedLab(),
    "lasting": LastingLab(),
    "renewed": RenewedLab(),
}
"""The poor ones are told nothing: they have to find out what there is."""
REAL = [name for name, lab in LABS.items() if lab.real]


def _existing(folder: Path) -> Path:
    """The folder, or the one in which it is to be made."""
    return folder if folder.exists() else folder.parent


def program(
    argv: list[str],
    *,
    cwd: str = "/",
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> ProcessSpec:
    """`more` are other fields of the spec."""
    return ProcessSpec(argv=argv, env={"PATH": PATH, **(env or {})}, cwd=cwd, **more)


async def _exits(run: FakeRun) -> int:
    return int(run.spec.argv[1])


async def _says(run: FakeRun) -> int:
    await run.write("stdout", run.spec.argv[1].encode())
    await run.write("stderr", run.spec.argv[2].encode())
    return 0


async def _repeats(run: FakeRun) -> int:
    await run.write("stdout", (run.spec.stdin or "").encode())
    return 0


async def _stays(run: FakeRun) -> int:
    await run.write("stdout", b"ready\n")
    return await run.forever()


async def _ignores_sigterm(run: FakeRun) -> int:
    with run.ignoring_sigterm():
        await run.write("stdout", b"ready\n")
        return await run.forever()


async def _obeys(run: FakeRun) -> int:
    await run.write("stdout", b"ready\n")
    try:
        return await run.forever()
    except asyncio.CancelledError:
        return int(run.spec.argv[1])
