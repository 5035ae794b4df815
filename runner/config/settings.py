"""What is decided before a node is put together.

state_dir/                 $XDG_STATE_HOME/runner, else ~/.local/state/runner (0700)
    key                    the sealing key (0600)
    runner.log             what went wrong inside the runner, for whoever mends it
    runner.toml            the configuration of a node, where it is not kept elsewhere
    runs/<group id>/       one group of `runner run`: its store, its logs, its lock
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from runner.errors import UsageError

Containment = Literal["auto", "cgroup2", "marker"]
LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

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
    first of them that can be had (`auto`). `notify_address` is where a service manager wants to hear that it is ready, and after
    `watchdog_seconds` without a word (0 for ever) it takes it for dead. `traceparent` is the span for which this process works.
    """

    state_dir: Path
    base_env: Mapping[str, str]
    temp_parent: Path
    temp_in_memory: bool
    max_parallel: int
    log_bytes: int
    template_milliseconds: int
    containment: Containment = "auto"
    keep_days: int = KEEP_DAYS
    keep_runs: int = KEEP_RUNS
    notify_address: str = ""
    watchdog_seconds: float = 0.0
    traceparent: str = ""

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
        return folder.parent == self.runs_dir

    def run_dir(self, group_id: str) -> Path:
        """Where `runner run` keeps the group. Raises UsageError for an id that is no plain name."""
        if not GROUP_ID.fullmatch(group_id):
            raise UsageError(
                f"{group_id!r} cannot be a group id: letters, digits, '_' and '-', at most 128, beginning with a letter or digit"
            )
        return self.runs_dir / group_id
