"""What the runner has to know of the machine and the user that it runs on and for."""

from __future__ import annotations

import os
import re
import resource
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.config.kinds import NAME
from runner.errors import UsageError
from runner.model.trace import VARIABLE

FILES_PER_TASK = 3
"""Two pipes and a log."""
OWN_FILES = 100
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How /proc spells the white space in a path."""

_NAMELESS = "runner"


def environment_value(name: str) -> str:
    """One variable of the runner's own environment, for `--set-secret name=env:NAME`. Raises UsageError when not set."""
    try:
        return os.environ[name]
    except KeyError:
        raise UsageError(f"the environment variable {name!r} is not set") from None


def host_name() -> str:
    """The name of the machine; `runner` for one that has none, or one that cannot be the name of a runner."""
    name = os.uname().nodename
    return name if NAME.fullmatch(name) else _NAMELESS


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Raises UsageError where there is no home folder."""
    # The specification of XDG_STATE_HOME says that a relative path is to be ignored.
    home = environ.get("XDG_STATE_HOME", "")
    if home.startswith("/"):
        return Path(home, "runner")
    own = environ.get("HOME") or os.path.expanduser("~")
    if own == "~":  # as it was: the system knows nothing of this user
        raise UsageError("there is no home folder to keep state in; set XDG_STATE_HOME or name a folder")
    return Path(own, ".local", "state", "runner")


def watchdog_seconds(environ: Mapping[str, str]) -> float:
    """After which time without a word a service manager takes this process for dead, as sd_watchdog_enabled(3) has it; 0 for
    never."""
    period, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not period.isdigit() or (process and process != str(os.getpid())):
        return 0.0
    return int(period[:18]) / 1e6


def traceparent(environ: Mapping[str, str] | None = None) -> str:
    """For which span this process works, if it was told; nobody has checked it."""
    return (os.environ if environ is None else environ).get(VARIABLE, "")


def silence_grpc() -> None:
    """gRPC writes what it thinks of its callers to stderr itself, in a format of its own; unless somebody has asked for it. To be
    called before it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def available_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def possible_tasks() -> int:
    """How many can run at once with the files that this process may have open at most."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else max(1, (hard - OWN_FILES) // FILES_PER_TASK)


def check_possible(tasks: int) -> None:
    """Raises UsageError for more at once than are possible."""
    most = possible_tasks()
    if tasks > most:
        raise UsageError(
            f"max_parallel: {tasks:,} tasks at once need about {tasks * FILES_PER_TASK + OWN_FILES:,} open files; "
            f"raise the hard limit (ulimit -Hn), or run at most {most:,} at once"
        )


def is_tmpfs(folder: str | os.PathLike[str]) -> bool:
    """Whether `folder` lies in memory, so that what is written there never reaches a disk (but for swap)."""
    inside = os.path.join(os.path.realpath(folder), "")
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, point, fstype, *_ = line.split(" ")
                point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), point)
                if len(point) >= len(best) and inside.startswith(os.path.join(point, "")):
                    best, kind = point, fstype
    except (OSError, ValueError):
        return False
    return kind in {"tmpfs", "ramfs"}


def temp_parent(candidates: Iterable[str]) -> Path:
    """The first of `candidates` that lies in memory and is safe to use; where none is, the usual folder for temporary files."""
    for candidate in candidates:
        if candidate.startswith("/") and is_tmpfs(candidate) and _safe(candidate):
            return Path(candidate)
    import tempfile  # slow to import, and seldom needed

    return Path(tempfile.gettempdir())


def _safe(folder: str) -> bool:
    """Whether this user can make folders in `folder` that nobody but root could put others in the place of."""
    try:
        status = os.stat(folder)
    except OSError:
        return False
    owned = status.st_uid in (0, os.geteuid())
    shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(status.st_mode) and owned and not shared and os.access(folder, os.W_OK | os.X_OK)
