"""What is asked of whoever starts processes, and what that tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct


class ProcessUser(Struct, frozen=True, kw_only=True):
    """Whom a process runs as, by number; `groups` are the supplementary ones. Another user than the host's own is for a host
    that is root."""

    uid: int
    gid: int
    groups: Sequence[int] = ()


class ProcessLimits(Struct, frozen=True, kw_only=True):
    """What one process may take; its children inherit it, each for itself. None leaves a limit as the host has it.

    `memory` is in bytes of what the process can write to and shares with nobody (RLIMIT_DATA). `nofile` is the number of open
    files, `nice` from -20 to 19, `oom_score_adj` from -1000 to 1000.
    """

    memory: int | None = None
    nofile: int | None = None
    nice: int | None = None
    oom_score_adj: int | None = None


class ProcessSpec(Struct, frozen=True, kw_only=True):
    """What to start. The process leads a session of its own.

    `argv[0]` is looked up in `env["PATH"]` unless it has a slash. `cwd` is absolute. `timeout` in seconds from the
    start, None for none; it stands still while the process is paused. `grace` in seconds between SIGTERM and SIGKILL
    when the timeout strikes. `stdin` is what the process reads, None for /dev/null. `user` None is the host's own.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    timeout: float | None = None
    grace: float = 10.0
    stdin: str | None = None
    user: ProcessUser | None = None
    limits: ProcessLimits | None = None


class ProcessStarted(Struct, frozen=True, kw_only=True):
    pid: int
    started_at: float


class ProcessExit(Struct, frozen=True, kw_only=True):
    """How a process ended. `exit_code` is 128+n after signal n. `cause` tells who ended it: itself (`exited`), its
    deadline (`timeout`) or the host when it was asked to (`stopped`). `kill` is the kill report, where something had to be
    ended: {signals: [[name, seconds]], containment, leftovers, left, survivors}. `leftovers` counts the processes beside the
    first that were killed one by one; `left` names those that could not be ended: [{pid, name, state}]. An empty `left` is a
    look that found nothing, not a proof; `survivors` is there where it is one: how many are alive, as the kernel knows it."""

    exit_code: int
    signal: int | None
    cause: Literal["exited", "timeout", "stopped"]
    started_at: float
    finished_at: float
    kill: Mapping[str, Any] | None = None
