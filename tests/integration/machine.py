"""A machine that systemd has booted: namespaces of its own, and over all files of this one a layer that is thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SYSTEMD = "/lib/systemd/systemd"
SECONDS = 240
NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# `sh -c … boot CGROUP FOLDER`. What belongs to the kernel, and so to this machine too, cannot be written to: /proc/sys is
# read-only, and of all that is done at a boot there is only the journal.
BOOT = f"""
set -eu
echo $$ > "$1/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --fork --kill-child --propagation private {" ".join(NAMESPACES)} sh -euc '
    mount -t tmpfs -o mode=755 machine "$1"
    cd "$1"
    mkdir upper work root
    mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
    cd root
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev
    for name in null zero full random urandom tty; do
        touch dev/$name
        mount --bind /dev/$name dev/$name
    done
    ln -s /proc/self/fd dev/fd
    mkdir dev/shm
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    mount -t tmpfs -o mode=755 tmpfs run
    rm -rf etc/systemd/system
    mkdir etc/systemd/system
    for unit in lib/systemd/system/sysinit.target.wants/* lib/systemd/system/timers.target.wants/*; do
        name="${{unit##*/}}"
        [ $name = systemd-journald.service ] || ln -s /dev/null etc/systemd/system/$name
    done
    mkdir outside
    pivot_root . outside
    umount -l outside
    exec env -i container=test PATH="$PATH" {SYSTEMD} --unit=basic.target
' boot "$2"
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    init: int
    """The process that is number 1 there."""

    def run(self, script: str, *, folder: Path = Path("/"), network: bool = False, check: bool = True) -> str:
        """What a script of root's prints there; with `network` it reaches what this machine reaches."""
        entered = [option for option in NAMESPACES if not (network and option == "--net")]
        done = subprocess.run(
            ["nsenter", "--target", str(self.init), *entered, "env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8",
             "sh", "-euc", f'cd "$1"; {script}', "sh", str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"{script}\n→ {done.returncode}\n{done.stdout}\n{self.journal()}")
        return done.stdout

    def until(self, script: str) -> str:
        """What it prints once it succeeds."""
        while True:
            with suppress(AssertionError):
                return self.run(script)
            time.sleep(0.05)

    def journal(self) -> str:
        return self.run("journalctl --no-pager --quiet --lines 40", check=False)


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Raises OSError or AssertionError where there can be none."""
    group = _control_group() / f"machine-{os.getpid()}"
    group.mkdir()
    log = folder / "boot.log"
    folder.joinpath("machine").mkdir()
    try:
        with open(log, "wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", BOOT, "boot", str(group), str(folder / "machine")],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={"PATH": PATH},
            )  # fmt: skip
        try:
            yield _running(process, log)
        finally:
            process.kill()  # and with it all that is there
            process.wait()
    finally:
        _removed(group)


def _running(process: subprocess.Popen[bytes], log: Path) -> Machine:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        pids = children.read_text().split()
        if pids and Path(f"/proc/{pids[0]}/comm").read_text() == "systemd\n":
            machine = Machine(init=int(pids[0]))
            if machine.run("systemctl is-active basic.target", check=False).startswith("active"):
                return machine
        time.sleep(0.05)
    raise AssertionError(f"no machine was booted: {log.read_text()}")


def _control_group() -> Path:
    """The one that this process is in, of version 2."""
    from runner.process.supervisor import cgroups

    name = cgroups.name_of("self")
    path = None if name is None else cgroups.path_of(name)
    if path is None:
        raise OSError("there are no control groups of version 2")
    return Path(path)


def _removed(group: Path) -> None:
    """Once the kernel has reaped all that was in it."""
    while "populated 1" in (group / "cgroup.events").read_text():
        time.sleep(0.01)
    for path, _, _ in os.walk(group, topdown=False):
        os.rmdir(path)


def missing() -> str | None:
    """Why no such machine can be booted here."""
    if os.geteuid() != 0:
        return "only root can boot a machine"
    if not os.access(SYSTEMD, os.X_OK):
        return "systemd is not installed"
    for name in ("setpriv", "unshare", "nsenter", "pivot_root", "useradd"):
        if shutil.which(name, path=PATH) is None:
            return f"the program {name!r} is not installed"
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "sh", "-euc",
         "mount -t tmpfs x /mnt; mkdir /mnt/u /mnt/w /mnt/r; mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w x /mnt/r"],
        capture_output=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else "namespaces and overlays cannot be made here"
