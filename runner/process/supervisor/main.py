"""How the supervisor starts: its mode, and in the shared one the lock and the socket of the state directory."""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import signal
import socket
import sys

from runner.process.supervisor import wire
from runner.process.supervisor.server import RefusedError, Server

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from typing import NoReturn


def _take_state(state_dir: str) -> tuple[int, socket.socket]:
    """The lock of the state directory, and the socket to listen on. Raises RefusedError."""
    try:
        # Relative names: a socket's path may have 108 bytes at most.
        os.chdir(state_dir)
        lock = os.open(wire.LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RefusedError(
            "locked", f"another supervisor serves {state_dir}: end that one, or give another state directory"
        ) from None
    except OSError as error:
        raise RefusedError(
            "cannot_serve", f"cannot use the state directory {state_dir}: {error}; mend that, or give another one"
        ) from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former = os.umask(0o177)
    try:
        if os.path.lexists(wire.SOCKET_NAME):
            os.unlink(wire.SOCKET_NAME)
        listener.bind(wire.SOCKET_NAME)
        listener.listen(8)
    except OSError as error:
        raise RefusedError(
            "cannot_serve", f"cannot listen in {state_dir}: {error}; mend that, or give another folder"
        ) from None
    finally:
        os.umask(former)
    return lock, listener


def _serve_shared(
    first: socket.socket | None,
    state_dir: str,
    incarnation: str,
    idle_seconds: float,
    containment: str,
    notify: str = "",
) -> None:
    lock, listener = _take_state(state_dir)
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    server = Server(first, private=False, incarnation=incarnation, idle_seconds=idle_seconds, wanted=containment)
    server.listen(listener, lock)
    if first is None:
        signal.signal(signal.SIGINT, lambda *_: None)  # by the terminal of whoever started it by hand
    if notify:
        _tell_ready(notify)
    server.run()
    try:
        os.unlink(wire.SOCKET_NAME, dir_fd=folder)
    except FileNotFoundError:
        return


def _use_nothing_of_the_terminal() -> None:
    """Our children read what we have as standard input, and nobody reads what we could print."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _limit_files(number: int) -> None:
    """The supervisor passes on what it was started with, and its runner may have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if number != soft:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (number if hard == resource.RLIM_INFINITY else min(number, hard), hard)
        )


def _tell_ready(address: str) -> None:
    """As systemd wants it, see sd_notify(3). `@` stands for the NUL byte that a name without a file begins with."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def _calm_collector() -> None:
    """What this program is made of lives as long as it does, and of what is over nothing is in a cycle: to look for that took a
    twentieth of its time."""
    gc.freeze()
    gc.set_threshold(10_000)


def _remove(folder: str) -> None:
    """What a runner that was killed could not remove itself, unless the next one has taken it already: who uses it holds a
    lock on it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    import shutil  # takes longer than all else at the end, and is seldom needed

    shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str]) -> NoReturn:
    """`MODE CONTAINMENT NOFILE FOLDER INCARNATION …`:

    private  the folder is removed at the end; empty for none
    shared   the folder is the state directory; then IDLE_SECONDS
    service  the same, in the foreground and for ever; then the address to tell that it is ready, empty for none

    The first two are given a connection to their runner. The containment is `auto`, `cgroup2` or `marker`. NOFILE is how many files a
    program can have open that asks for nothing else. The incarnation is 32 hexadecimal digits; empty for one that is made up."""
    mode, containment, nofile, folder, incarnation, *rest = arguments
    _calm_collector()
    _limit_files(int(nofile))
    if mode == "service":
        _use_nothing_of_the_terminal()
        try:
            _serve_shared(None, folder, incarnation, float("inf"), containment, notify=rest[0])
        except (RefusedError, OSError) as error:
            sys.exit(f"runner supervisor: {error}")
        sys.exit(0)
    # Whatever the runner had inherited must neither be kept open by us nor reach our children.
    os.closerange(wire.FIRST_CONNECTION_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    first = socket.socket(fileno=wire.FIRST_CONNECTION_FD)
    first.set_inheritable(False)
    try:
        if mode == "private":
            Server(first, private=True, incarnation=incarnation, wanted=containment).run()
            if folder:
                _remove(folder)
        else:
            if os.fork():
                os._exit(0)  # init, not the runner, is the parent of what outlives the runner
            _serve_shared(first, folder, incarnation, float(rest[0]), containment)
    except RefusedError as refusal:
        first.sendall(wire.encode({"op": "refused", "reason": refusal.reason, "error": str(refusal)}))
    sys.exit(0)
