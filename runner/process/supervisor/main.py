"""How the supervisor starts: its mode, and in the shared one the lock and the socket of the state directory."""

from __future__ import annotations

import fcntl
import os
import resource
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
        raise RefusedError("locked", f"another supervisor serves {state_dir}") from None
    except OSError as error:
        raise RefusedError("cannot_serve", f"cannot use the state directory {state_dir}: {error}") from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former = os.umask(0o177)
    try:
        if os.path.lexists(wire.SOCKET_NAME):
            os.unlink(wire.SOCKET_NAME)
        listener.bind(wire.SOCKET_NAME)
        listener.listen(8)
    except OSError as error:
        raise RefusedError("cannot_serve", f"cannot listen in {state_dir}: {error}") from None
    finally:
        os.umask(former)
    return lock, listener


def _serve_shared(
    first: socket.socket, state_dir: str, incarnation: str, idle_seconds: float, containment: str
) -> None:
    if os.fork():
        os._exit(0)  # init, not the runner, is the parent of what outlives the runner
    lock, listener = _take_state(state_dir)
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    server = Server(first, private=False, incarnation=incarnation, idle_seconds=idle_seconds, wanted=containment)
    server.listen(listener, lock)
    server.run()
    try:
        os.unlink(wire.SOCKET_NAME, dir_fd=folder)
    except FileNotFoundError:
        return


def _remove(folder: str) -> None:
    """What a runner that was killed could not remove itself."""
    import shutil  # takes a while, and nobody waits for us any more

    shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str]) -> NoReturn:
    """`private CONTAINMENT TEMP_DIR INCARNATION` (the folder is removed at the end; empty for none) or `shared CONTAINMENT
    STATE_DIR INCARNATION IDLE_SECONDS`. The containment is `auto`, `cgroup2` or `marker`. The incarnation is 32 hexadecimal
    digits; empty for one that is made up."""
    mode, containment, folder, incarnation, *rest = arguments
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
            _serve_shared(first, folder, incarnation, float(rest[0]), containment)
    except RefusedError as refusal:
        first.sendall(wire.encode({"op": "refused", "reason": refusal.reason, "error": str(refusal)}))
    sys.exit(0)
