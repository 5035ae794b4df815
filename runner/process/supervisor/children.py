"""Starting one child process, and saying why it could not be started."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat

from runner.process.supervisor.processes import Mark, MarkedLimit

COULD_NOT_START = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127

# A child begins with every signal at its default and none blocked, whatever this process or its parents ignore.
_DEFAULTED = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]

# Not the program's fault: 125. What is left of exec's errors (EACCES, ENOEXEC, ELOOP, ETXTBSY, …) is 126.
_OUR_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO}


class CannotStartError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Program:
    """What to start."""

    __slots__ = ("argv", "cwd", "env")

    def __init__(self, argv: list[str], env: dict[str, str], cwd: str) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd


class Child:
    """What was started. `stdout` and `stderr` are the read ends of its pipes: non-blocking, close-on-exec."""

    __slots__ = ("pid", "stderr", "stdout")

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr


class Limits:
    """The limits that this process and its children do not share. It may open as many descriptors as it can get, they get
    the limit that it was started with; and they get the one that marks them."""

    def __init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._children = (soft, hard)
        self._own = (hard, hard)
        self._differ = soft != hard
        self._marked = MarkedLimit()
        self.for_own()

    def for_children(self, mark: Mark) -> None:
        self._marked.for_children(mark)
        if self._differ:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._children)

    def for_own(self) -> None:
        self._marked.for_own()
        if self._differ:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._own)


def spawn(program: Program, limits: Limits, mark: Mark) -> Child:
    """Start a program as the leader of a new session, stdin as this process has it. Raises CannotStartError."""
    argv, env = program.argv, program.env
    opened: list[int] = []
    try:
        _enter(program.cwd)  # nothing else runs in this process that could be led astray
        path = _find(argv[0], env.get("PATH", os.defpath))
        for _ in range(2):
            opened += os.pipe2(os.O_CLOEXEC)
        stdout, child_stdout, stderr, child_stderr = opened
        limits.for_children(mark)
        try:
            pid = os.posix_spawn(
                path,
                argv,
                env,
                file_actions=((os.POSIX_SPAWN_DUP2, child_stdout, 1), (os.POSIX_SPAWN_DUP2, child_stderr, 2)),
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULTED,
            )
        finally:
            limits.for_own()
        os.close(child_stdout)
        os.close(child_stderr)
        # The flag belongs to the read end alone: the child's end stays blocking.
        os.set_blocking(stdout, False)
        os.set_blocking(stderr, False)
        return Child(pid, stdout, stderr)
    except OSError as error:
        _close(opened)
        raise _explained(error, argv[0]) from None
    except (
        ValueError,
        TypeError,
        LookupError,
    ) as error:  # no argv[0], NUL or a lone surrogate in a string, `=` in a name
        _close(opened)
        raise CannotStartError(
            COULD_NOT_START, f"the arguments or the environment are not acceptable: {error}"
        ) from None
    finally:
        os.chdir("/")  # so that folders can be removed and file systems unmounted


def _enter(cwd: str) -> None:
    try:
        os.chdir(cwd)
    except OSError as error:
        message = f"cannot enter the working folder {cwd!r}: {error.strerror}"
        raise CannotStartError(COULD_NOT_START, message) from None


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
        raise CannotStartError(NOT_EXECUTABLE, f"{forbidden!r} is not an executable file")
    raise CannotStartError(NOT_FOUND, f"{name!r} was not found in PATH ({path})")


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
        return CannotStartError(NOT_EXECUTABLE, f"{program!r} names an interpreter that does not exist")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CannotStartError(NOT_FOUND, f"{program!r} does not exist")
    if number == errno.ENOEXEC:
        return CannotStartError(NOT_EXECUTABLE, f"{program!r} is neither a program nor a script with a '#!' line")
    return CannotStartError(NOT_EXECUTABLE, f"{program!r} cannot be executed: {error.strerror}")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
