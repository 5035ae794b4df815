"""Starting a child that asks for more than `posix_spawn` can give: another user, limits, a place among those that wait.

The fork costs some two milliseconds more. What goes wrong in the child comes back through a pipe that its exec closes.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import termios

from runner.process.supervisor.program import COULD_NOT_START, CannotStartError, Program

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

_LONGEST_WORD_BYTES = 4096


def start(
    program: Program, ends: Sequence[tuple[int, int]], set_limits: Callable[[], None], defaulted: Sequence[int]
) -> int:
    """The number of a process that executes `program` as the leader of a new session. `ends` are the descriptors that it
    gets and as which, `set_limits` is called in it first, `defaulted` are the signals that it does not ignore.

    Raises CannotStartError.
    """
    told, tell = os.pipe2(os.O_CLOEXEC)
    try:
        # A signal to the child must not be taken for one of ours, before it has handlers of its own.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _execute(program, ends, set_limits, defaulted, tell)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
            os.close(tell)
        word = os.read(told, _LONGEST_WORD_BYTES)
    finally:
        os.close(told)
    if not word:
        return pid
    os.waitpid(pid, 0)
    code, _, message = word.decode("utf-8", "replace").partition(" ")
    raise CannotStartError(int(code), message)


def _execute(
    program: Program,
    ends: Sequence[tuple[int, int]],
    set_limits: Callable[[], None],
    defaulted: Sequence[int],
    tell: int,
) -> NoReturn:
    """The child's way to its program; nothing leaves this function."""
    try:
        os.setsid()
        for number in defaulted:
            signal.signal(number, signal.SIG_DFL)
        for descriptor, end in ends:
            os.dup2(descriptor, end)
        if program.terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that what is typed there can be a signal
        set_limits()
        wanted = program.limits or {}
        _surround(wanted)
        if program.user is not None:
            _become(*program.user, [end for _, end in ends])
        program.enter()  # as the user that it runs as, who may not enter or find what we can
        path = program.path
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if "memory" in wanted:  # last: this interpreter may have more already
            _limit_memory(wanted["memory"])
        os.execve(path, program.argv, program.env)
    except MemoryError:
        error = CannotStartError(COULD_NOT_START, "the limit of memory is too low to start a program with")
    except Exception as problem:  # noqa: BLE001 - whatever it is, the parent waits for a word
        error = program.explained(problem)
    word = f"{error.code} {error.message}".encode("utf-8", "replace")
    os.write(tell, word[:_LONGEST_WORD_BYTES])
    os._exit(COULD_NOT_START)


def _surround(wanted: Mapping[str, int]) -> None:
    """The limits that have to be set while this is still the supervisor's user."""
    if "nofile" in wanted:
        number = wanted["nofile"]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))
        except (OSError, ValueError):
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            raise _refused(f"cannot allow {number} open files: at most {most} are possible here") from None
    if "nice" in wanted:
        _be_nice(wanted["nice"])
    if "oom_score_adj" in wanted:
        try:
            _write("/proc/self/oom_score_adj", wanted["oom_score_adj"])
        except OSError as error:
            number = wanted["oom_score_adj"]
            raise _refused(f"cannot set oom_score_adj to {number}: {error.strerror}; only root may lower it") from None


def _be_nice(number: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, number)
    except OSError as error:
        raise _refused(f"cannot set nice to {number}: {error.strerror}; only root may lower it") from None
    try:
        # Where the kernel shares the processor among sessions first, a process is nice within its own alone.
        _write("/proc/self/autogroup", number)
    except OSError:  # it does not, or (when we are not root) has just been asked
        return


def _become(uid: int, gid: int, groups: Sequence[int], ends: Sequence[int]) -> None:
    try:
        for end in ends:
            os.fchown(end, uid, gid)  # else it could not open /dev/stderr by its name
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        if (uid, gid) == (os.geteuid(), os.getegid()):
            return
        message = f"cannot run as the user {uid} with the group {gid}: {error.strerror}; the runner has to be root"
        raise _refused(message) from None


def _limit_memory(size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _write(path: str, number: int) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(number))


def _refused(message: str) -> CannotStartError:
    return CannotStartError(COULD_NOT_START, message)
