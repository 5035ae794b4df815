"""What the runner takes from its surroundings. The only reader of the environment.

state_dir/                 $XDG_STATE_HOME/runner, else ~/.local/state/runner (0700)
    key                    the sealing key (0600)
    runner.log             what went wrong inside the runner, for whoever mends it
    runs/<group id>/       one group of `runner run`: its store, its logs, its lock
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, cast, get_args

from msgspec import Struct

from runner.errors import UsageError
from runner.model import size
from runner.model.log import LEAST_LOG_LIMIT_BYTES

BASE_ENV_NAMES = ("PATH", "HOME", "LANG", "TZ")
"""What a task sees of the runner's own environment."""

Containment = Literal["auto", "cgroup2", "marker"]
CONTAINMENT_NAME = "RUNNER_CONTAINMENT"

SLOTS_PER_CORE = 4
MEMORY_FOLDER = "/dev/shm"
MEMORY_FOLDER_OF_ROOT = "/run"

_OCTAL = re.compile(r"\\([0-7]{3})")
"""How /proc spells the white space in a path."""

LOG_BYTES = 4 << 30
TEMPLATE_MILLISECONDS = 40
KEEP_DAYS = 30
KEEP_RUNS = 200
GROUP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Settings(Struct, frozen=True, kw_only=True):
    """All that is decided before a node is put together.

    `state_dir` is absolute and need not exist. `base_env` is what every task's environment begins with. `temp_parent` is an
    existing folder, on tmpfs where there is one: private folders are made below it. `temp_in_memory` tells whether it is, so
    that nothing is kept on a disk without saying so. `max_parallel` is the number of attempts that may run at once.
    `log_bytes` is how much is kept of what one attempt prints, 0 for all of it. `template_milliseconds` is what the templates of
    one attempt may cost. Finished runs are removed after `keep_days` days, and the oldest where there are more than `keep_runs`.
    `containment` is what keeps the processes of an attempt together: control groups (`cgroup2`), marks (`marker`), or the
    first of them that can be had (`auto`). `notify_address` is where a service manager wants to hear that it is ready.
    """

    state_dir: Path
    base_env: Mapping[str, str]
    temp_parent: Path
    temp_in_memory: bool
    max_parallel: int
    log_bytes: int
    template_milliseconds: int
    keep_days: int
    keep_runs: int
    containment: Containment = "auto"
    notify_address: str = ""

    @property
    def key_file(self) -> Path:
        return self.state_dir / "key"

    @property
    def log_file(self) -> Path:
        return self.state_dir / "runner.log"

    @property
    def runs_dir(self) -> Path:
        return self.state_dir / "runs"

    def temp_dir(self, folder: Path) -> Path:
        """Where the node whose state is in `folder` keeps what must not reach a disk: the same for every life of it, so that
        what a killed one left is found again. To be made with `workspace.make_temp`."""
        mark = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
        return self.temp_parent / f"{self.run_temp_prefix if self._is_run(folder) else self._temp_prefix}{mark}"

    @property
    def run_temp_prefix(self) -> str:
        """What the names of such folders of `runner run` begin with: nobody needs them once their runner is gone."""
        return f"{self._temp_prefix}run-"

    @property
    def _temp_prefix(self) -> str:
        return f"runner-{os.geteuid()}-"

    def _is_run(self, folder: Path) -> bool:
        return folder.parent == self.state_dir / "runs"

    def run_dir(self, group_id: str) -> Path:
        """Where `runner run` keeps the group. Raises UsageError for an id that is no plain name."""
        if not GROUP_ID.fullmatch(group_id):
            raise UsageError(
                f"{group_id!r} cannot be a group id: letters, digits, '_' and '-', at most 128, beginning with a letter or digit"
            )
        return self.runs_dir / group_id


def load_settings(
    environ: Mapping[str, str] | None = None, *, state_dir: Path | None = None, max_parallel: int | None = None
) -> Settings:
    """The settings of this process; what is given here wins over what the environment says."""
    if environ is None:
        environ = os.environ
    # The folder of a login session comes second: it goes when the session ends, and differs between sessions.
    parent = temp_parent((MEMORY_FOLDER, environ.get("XDG_RUNTIME_DIR", ""), MEMORY_FOLDER_OF_ROOT))
    return Settings(
        state_dir=(state_dir or _default_state_dir(environ)).absolute(),
        base_env={name: environ[name] for name in BASE_ENV_NAMES if name in environ},
        temp_parent=parent,
        temp_in_memory=is_tmpfs(parent),
        max_parallel=max_parallel or SLOTS_PER_CORE * available_cores(),
        log_bytes=_log_bytes(environ),
        keep_days=_number(environ, "RUNNER_KEEP_DAYS", KEEP_DAYS, least=0, most=100_000),
        keep_runs=_number(environ, "RUNNER_KEEP_RUNS", KEEP_RUNS, least=0, most=1_000_000),
        template_milliseconds=_number(
            environ, "RUNNER_TEMPLATE_MILLISECONDS", TEMPLATE_MILLISECONDS, least=1, most=60_000
        ),
        containment=_containment(environ),
        notify_address=environ.get("NOTIFY_SOCKET", ""),
    )


def environment_value(name: str) -> str:
    """One variable of the runner's own environment, for `--set-secret name=env:NAME`. Raises UsageError when not set."""
    try:
        return os.environ[name]
    except KeyError:
        raise UsageError(f"the environment variable {name!r} is not set") from None


def available_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _number(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number from the environment; not set, or set to nothing, is `default`."""
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        raise UsageError(f"{name} is {text!r}; expected a whole number from {least:,} to {most:,}")
    return int(text)


def _containment(environ: Mapping[str, str]) -> Containment:
    wanted = environ.get(CONTAINMENT_NAME, "") or "auto"
    for known in get_args(Containment):
        if wanted == known:
            return cast(Containment, known)
    raise UsageError(f"{CONTAINMENT_NAME} is {wanted!r}; expected {', '.join(get_args(Containment))}")


def _log_bytes(environ: Mapping[str, str]) -> int:
    text = environ.get("RUNNER_LOG_LIMIT", "")
    if not text:
        return LOG_BYTES
    try:
        number = size.parse(text)
    except ValueError as error:
        raise UsageError(f"RUNNER_LOG_LIMIT is {text!r}: {error}") from None
    if 0 < number < LEAST_LOG_LIMIT_BYTES:
        raise UsageError(f"RUNNER_LOG_LIMIT is {text!r}; expected at least 64KiB, or 0 to keep all of every log")
    return number


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    # The specification of XDG_STATE_HOME says that a relative path is to be ignored.
    home = environ.get("XDG_STATE_HOME", "")
    if home.startswith("/"):
        return Path(home, "runner")
    try:
        return Path(environ.get("HOME") or os.path.expanduser("~"), ".local", "state", "runner")
    except RuntimeError:
        raise UsageError("there is no home folder to keep state in; set XDG_STATE_HOME or use --state-dir") from None


def temp_parent(candidates: Iterable[str]) -> Path:
    """The first of `candidates` that lies in memory and is safe to use; where none is, the usual folder for temporary files."""
    for candidate in candidates:
        if candidate.startswith("/") and is_tmpfs(candidate) and _safe(candidate):
            return Path(candidate)
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
