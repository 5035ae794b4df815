"""The machine that one of the two nodes is on: what happens to its disk, its clock, and to all of it at once."""

from __future__ import annotations

import errno
import os
import re
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.acceptance.command import RUNNER
from tests.acceptance.mortal import Node
from tests.chaos.forwarding.apart import Street
from tests.chaos.life import settings_of

_DISK_BYTES = 32 << 20
_PIECES_BYTES = (1 << 20, 4 << 10)
_FIRST_BOOT_SECONDS = 60.0
"""What a clock that counts since the start of a machine shows soon after it."""
_WRONG_CLOCK = """
import mmap, struct, time
with open({path!r}, "r+b") as file:
    wrong = mmap.mmap(file.fileno(), 8)
right = time.time
time.time = lambda: right() + struct.unpack("d", wrong)[0]
"""
_BOOTED = """
mount --bind "$0/boot_id" /proc/sys/kernel/random/boot_id
exec unshare --time --boottime "$(cat "$0/boot_offset")" "$@"
"""
LODGINGS = "workspaces/.guests/"
"""Where the state has the workspaces of other runners' groups."""
_KEPT = re.compile(
    r"state\.db(-shm|-wal|\.lock)?|key|node|runner\.sock|supervisor\.(lock|log|sock)|tokens/[^/]+\.json|logs(/[^/]+(/[^/]+\.log)?)?"
    r"|supervisor/(\.lock|[0-9a-f]+(/.*)?)|workspaces/\.(guests|uploads)|tokens|supervisor|workspaces"
)
"""What the state of a node holds when all is over: what was submitted, its logs, and what nodes need to live."""


class Machine:
    """`code` is run in the node before each life; in a `street` it has a network, a disk and clocks of its own."""

    def __init__(
        self,
        folder: Path,
        side: str,
        config: str,
        *listen: str,
        code: str = "",
        keepalive: float = 30.0,
        street: Street | None = None,
    ) -> None:
        self.side = side
        self.folder = folder
        self._disk = folder / "disk"
        self.state = self._disk / "state"
        self._street = street
        self._disk.mkdir(parents=True)
        path = folder / "runner.toml"
        path.write_text(config)
        before: Sequence[str] = ()
        if street is not None:
            (folder / "clock").write_bytes(struct.pack("d", 0.0))
            self._boot(0.0)
            _mount(self._disk)
            code = _WRONG_CLOCK.format(path=str(folder / "clock")) + code
            before = (*street.inside(side), "unshare", "--mount", "sh", "-c", _BOOTED, str(folder))
        if code:
            # What follows it are the arguments of a Python that was told its program with -c.
            become = "import sys; program = sys.argv[3]; sys.argv = ['-c', *sys.argv[4:]]; exec(program)"
            before = (*before, sys.executable, "-c", f"{code}\n{become}")
        self.node = Node(
            self.state,
            *listen,
            # What listens elsewhere than on loopback wants TLS; here a token has to do, for nobody else is in that network.
            options=["--config", str(path), *(("--insecure",) if street is not None else ())],
            environment={"RUNNER_KEEPALIVE": str(keepalive)},
            before=before,
        )

    def remove(self) -> None:
        self.node.remove()
        if self._street is not None:
            subprocess.run(["umount", "--lazy", str(self._disk)], capture_output=True, check=False)

    # Faults.

    def fill(self) -> None:
        with open(self._disk / ".filler", "ab", buffering=0) as filler:
            for piece in _PIECES_BYTES:
                try:
                    while filler.write(bytes(piece)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        (self._disk / ".filler").unlink()

    def jump(self, seconds: float) -> None:
        """The clock on its wall is wrong by so much from now on."""
        with open(self.folder / "clock", "r+b") as file:
            file.write(struct.pack("d", seconds))

    def crash(self) -> None:
        """Everything that runs there is gone at once, and it boots anew."""
        assert self._street is not None
        self.node.end()
        network = self._street.network(self.side)
        while pids := [pid for pid in others() if _network(pid) == network]:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self._boot(_FIRST_BOOT_SECONDS - time.clock_gettime(time.CLOCK_BOOTTIME))

    def back_up(self) -> None:
        self._command("backup", "--with-key")

    def restore(self) -> None:
        """After a crash: on a new disk there is what was backed up."""
        subprocess.run(["umount", "--lazy", str(self._disk)], capture_output=True, check=True)
        _mount(self._disk)
        self._command("restore")

    # Judging.

    def descriptors(self) -> Counter[str]:
        """What the node and its supervisor have open, by kind."""
        found: Counter[str] = Counter()
        who = dict.fromkeys(self.node.supervisors, "supervisor") | {self.node.pid: "node"}
        for pid, name in who.items():
            for path in Path(f"/proc/{pid}/fd").glob("*"):
                with suppress(OSError):
                    kind = re.sub("[0-9a-f]{4,}|[0-9]+", "N", os.readlink(path))
                    found[f"{name} {kind}"] += 1
        return found

    def left(self) -> Sequence[str]:
        """Files and folders that somebody should have removed: of the state, and of what must not reach a disk."""
        temp = settings_of(self.state).temp_dir(self.state)
        inside = [str(path.relative_to(self.state)) for path in _below(self.state)]
        return [path for path in inside if not _KEPT.fullmatch(path)] + [str(path) for path in _below(temp)]

    def _boot(self, offset: float) -> None:
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.folder / "boot_offset").write_text(f"{offset:.0f}")

    def _command(self, name: str, *options: str) -> None:
        command = [*RUNNER, name, str(self.folder / "backup"), "--state-dir", str(self.state), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _below(folder: Path) -> Iterator[Path]:
    """Not with `rglob`, which cannot bear that a folder is removed meanwhile."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def others() -> Iterator[int]:
    """The processes of this play beside itself and who reaps for it, where it has a machine for itself."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid not in (1, os.getpid()) and _is_alive(pid):
            yield pid


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    return False


def _network(pid: int) -> int:
    with suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    return 0


def _mount(disk: Path) -> None:
    options = f"mode=700,size={_DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(disk)], capture_output=True, check=True)
