"""Starting a supervisor: its own copy of its code, an interpreter that loads nothing else, the first connection."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import Literal, NoReturn

from msgspec import Struct

from runner.errors import ProcessHostError
from runner.process import descriptors
from runner.process.supervisor import wire

Containment = Literal["auto", "cgroup2", "marker"]
"""What keeps an attempt's processes together: `auto` is `cgroup2` where it can be had, else `marker`."""

_PACKAGE = Path("runner", "process", "supervisor")
_LOG_NAME = "supervisor.log"
_INSTALL_LOCK = ".lock"


class Launched(Struct, frozen=True, kw_only=True):
    """A supervisor that was just started. `pid` is to be reaped: of the supervisor itself when it is private, else of a
    process that ends as soon as the supervisor stands on its own."""

    connection: socket.socket
    pid: int


def install(state_dir: Path | str) -> Path:
    """The supervisor's own copy in the state directory, made once for each version of its code; returns its main file.

    An upgrade of the runner replaces or removes the files that it was installed with, under a supervisor that runs on.
    """
    sources = sorted(Path(__file__).with_name("supervisor").glob("*.py"))
    texts = {source.name: source.read_bytes() for source in sources}
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + text for name, text in texts.items())).hexdigest()[:16]
    home = Path(state_dir, "supervisor", digest)
    main = home / _PACKAGE / "__main__.py"
    if _intact(home / _PACKAGE, texts):
        return main
    home.parent.mkdir(mode=0o700, exist_ok=True)
    with _alone_in(home.parent):
        if _intact(home / _PACKAGE, texts):  # another runner was faster
            return main
        for draft in home.parent.glob("*.new"):  # of one who was killed while it copied
            shutil.rmtree(draft)
        draft = home.with_name(f"{digest}.new")
        try:
            _copy(draft / _PACKAGE, texts)
            _copy_compiled(draft / _PACKAGE, sources)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(home, ignore_errors=True)
        draft.rename(home)
    return main


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of all runners that share a state directory, one at a time."""
    lock = os.open(folder / _INSTALL_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _copy(package: Path, texts: Mapping[str, bytes]) -> None:
    outer = [package.parents[3], *reversed(package.parents[:3])]
    for folder in (*outer, package):
        folder.mkdir(mode=0o700, exist_ok=True)
    for folder in (*outer[2:], package):
        (folder / "__pycache__").mkdir(mode=0o700)  # else the interpreter makes it, as open as the umask lets it
        (folder / "__init__.py").touch(mode=0o600)
    for name, text in texts.items():
        (package / name).touch(mode=0o600)
        (package / name).write_bytes(text)


def _copy_compiled(package: Path, sources: Sequence[Path]) -> None:
    """What this interpreter would read of `sources` itself, so that the first start does not wait until they are compiled again.
    It goes by the time and the size of the source that it was made of; where it does not, it is as good as none."""
    for source in sources:
        compiled = Path(cache_from_source(str(source)))
        try:
            code, changed = compiled.read_bytes(), source.stat().st_mtime_ns
        except OSError:
            continue
        copy = package / "__pycache__" / compiled.name
        copy.touch(mode=0o600)
        copy.write_bytes(code)
        os.utime(package / source.name, ns=(changed, changed))


def _intact(package: Path, texts: Mapping[str, bytes]) -> bool:
    """Whether the copy is there and whole; a loss of power may have left empty files."""
    try:
        return all((package / name).read_bytes() == text for name, text in texts.items())
    except OSError:
        return False


def start(
    mode: Literal["private", "shared"], state_dir: Path | str, *arguments: str, containment: Containment = "auto"
) -> Launched:
    """Start a supervisor in a session of its own, with the arguments of its mode (see `supervisor.main`). Blocks for a few
    milliseconds. Raises ProcessHostError."""
    if not sys.executable:
        raise ProcessHostError("cannot start the supervisor: the path of the Python interpreter is not known")
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        main = install(state_dir)
        log = _descriptor(os.open(Path(state_dir, _LOG_NAME), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:
        raise ProcessHostError(f"cannot install the supervisor in {state_dir}: {error.strerror}") from error
    nofile = str(descriptors.STARTED_WITH)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    connection = _descriptor(theirs.detach())
    try:
        pid = os.posix_spawn(
            sys.executable,
            # Isolated, without site: nothing of the environment or of installed packages is read.
            [sys.executable, "-I", "-S", "-X", "utf8", str(main), mode, containment, nofile, *arguments],
            {},
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, connection, wire.FIRST_CONNECTION_FD),
            ),
            setsid=True,
            setsigmask=(),
        )
    except OSError as error:
        ours.close()
        raise ProcessHostError(f"cannot start the supervisor with {sys.executable}: {error.strerror}") from error
    finally:
        os.close(connection)
        os.close(log)
    return Launched(connection=ours, pid=pid)


def become(state_dir: Path | str, *, containment: Containment = "auto", notify: str = "") -> NoReturn:
    """Turn this process into the supervisor of a state directory that serves for ever: for whoever looks after services.
    `notify` is the address of sd_notify(3). Raises ProcessHostError."""
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        main = install(state_dir)
    except OSError as error:
        raise ProcessHostError(f"cannot install the supervisor in {state_dir}: {error.strerror}") from error
    folder = os.path.abspath(state_dir)
    own = [str(main), "service", containment, str(descriptors.STARTED_WITH), folder, "", notify]
    argv = [sys.executable, "-I", "-S", "-X", "utf8", *own]
    os.execve(sys.executable, argv, {})


def _descriptor(low: int) -> int:
    """The same open file, out of the way of 0 to 3, which the file actions assign one after the other."""
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 16)
    os.close(low)
    return high
