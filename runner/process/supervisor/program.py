"""What to start, where it is found, and why it could not be started."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Mapping, Sequence
    from typing import Any

COULD_NOT_START = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127

_REQUEST_KEYS = frozenset(
    ("op", "id", "key", "argv", "env", "cwd", "timeout", "grace", "stdin", "user", "limits", "terminal")
)

# Not the program's fault: 125. What is left of exec's errors (EACCES, ENOEXEC, ELOOP, ETXTBSY, …) is 126.
_OUR_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO}


class CannotStartError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Program:
    """What to start. `stdin` is what it reads there, None for /dev/null. `user` is [uid, gid, supplementary groups], None
    for this process's own. `limits` holds any of `memory` (bytes), `nofile`, `nice` and `oom_score_adj`. `terminal` is for one that
    somebody converses with: [rows, columns] of a terminal, or [] for pipes; None for all others."""

    __slots__ = ("argv", "cwd", "env", "limits", "stdin", "terminal", "user")

    def __init__(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        stdin: str | None = None,
        user: tuple[int, int, Sequence[int]] | None = None,
        limits: Mapping[str, int] | None = None,
        terminal: Sequence[int] | None = None,
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.stdin = stdin
        self.user = user
        self.limits = limits
        self.terminal = terminal

    @property
    def path(self) -> str:
        """The file to execute, looked for from the present folder. Raises CannotStartError."""
        return _find(self.argv[0], self.env.get("PATH", os.defpath))

    def enter(self) -> None:
        """Change to its working folder. Raises CannotStartError."""
        try:
            os.chdir(self.cwd)
        except OSError as error:
            message = (
                f"cannot enter the working folder {self.cwd!r}: {error.strerror}; make it, or name another `workdir`"
            )
            raise CannotStartError(COULD_NOT_START, message) from None

    def explained(self, error: Exception) -> CannotStartError:
        """What an error of the start means."""
        if isinstance(error, CannotStartError):
            return error
        if isinstance(error, OSError):
            return _explained(error, self.argv[0] if self.argv else "")
        # No argv[0], NUL or a lone surrogate in a string, `=` in a name.
        return CannotStartError(COULD_NOT_START, f"the arguments or the environment are not acceptable: {error}")


def asked(request: Mapping[str, Any]) -> Program:
    """What a request to spawn wants to be started. Raises CannotStartError where it asks for what this version does not know: to
    leave out a user or a limit would be worse than not to start; LookupError, TypeError and ValueError where it is malformed."""
    unknown = request.keys() - _REQUEST_KEYS
    if unknown:
        message = f"the supervisor is older than the runner, and does not know {', '.join(sorted(unknown))}"
        raise CannotStartError(COULD_NOT_START, message)
    terminal = request.get("terminal")
    if terminal is not None and (len(terminal) not in (0, 2) or not all(0 <= int(each) < 1 << 16 for each in terminal)):
        raise ValueError("a terminal has two measures, of at most 65535")
    wanted = (request["argv"], request["env"], request["cwd"])
    return Program(*wanted, request.get("stdin"), request.get("user"), request.get("limits"), terminal)


def _find(name: str, path: str) -> str:
    """The file to execute, as a shell would find it."""
    if "/" in name:
        return name
    forbidden = None
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        try:
            is_file = stat.S_ISREG(os.stat(candidate).st_mode)
        except OSError:
            continue
        if not is_file:
            continue
        if os.access(candidate, os.X_OK):
            return candidate
        forbidden = forbidden or candidate
    if forbidden is not None:
        raise CannotStartError(
            NOT_EXECUTABLE, f"{forbidden!r} is not an executable file: chmod +x it, or run it with its interpreter"
        )
    raise CannotStartError(NOT_FOUND, f"{name!r} was not found in PATH ({path}): install it, or give its path")


def _explained(error: OSError, program: str) -> CannotStartError:
    number = error.errno
    if number == errno.E2BIG:
        message = "the arguments and the environment are too long for the operating system; pass large values in files"
        return CannotStartError(COULD_NOT_START, message)
    if number in (errno.EMFILE, errno.ENFILE):
        return CannotStartError(COULD_NOT_START, f"cannot start {program!r}: the supervisor has too many open files")
    if number in _OUR_FAULT:
        return CannotStartError(COULD_NOT_START, f"cannot start {program!r}: {error.strerror}")
    if number == errno.ENOENT and os.path.exists(program):
        return CannotStartError(
            NOT_EXECUTABLE,
            f"{program!r} names an interpreter that does not exist: mend its first line, or install that",
        )
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CannotStartError(NOT_FOUND, f"{program!r} does not exist: give the path of a program")
    if number == errno.ENOEXEC:
        return CannotStartError(
            NOT_EXECUTABLE,
            f"{program!r} is neither a program nor a script with a '#!' line: write one, or run it with its interpreter",
        )
    return CannotStartError(NOT_EXECUTABLE, f"{program!r} cannot be executed: {error.strerror}; may this user do that?")
