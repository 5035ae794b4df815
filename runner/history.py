"""The runs that `runner run` has kept, each in a folder of its own: which of them are old, and how they go."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path

from runner import removal, visits
from runner.errors import RunnerError
from runner.store import retirement

MOST_LOOKED_AT = 50
"""In one go: so that it stays short where many that are old are unfinished. Which ones, chance decides: all have their turn."""

DAY_SECONDS = 86_400

_log = logging.getLogger(__name__)


def prune(runs: Path, *, keep_days: int, keep_runs: int) -> None:
    """Remove finished runs from the folder `runs`: those that nobody wrote to for `keep_days` days, and of the others all
    but the newest `keep_runs`. What is unfinished or in use stays, whatever its age. Raises nothing.

    May run beside anything else, in a thread and in many processes at once, and may be ended at any time: what it began the
    next one ends.
    """
    failures = []
    try:
        old = _old(runs, time.time() - keep_days * DAY_SECONDS, keep_runs)
        for folder in random.sample(old, min(len(old), MOST_LOOKED_AT)):
            try:
                if not visits.visitors(folder):
                    retirement.retire(folder, removal.aside(runs))
            except (RunnerError, OSError) as error:
                failures.append(error)
        removal.remove_aside(runs)
    except OSError as error:
        failures.append(error)
    if failures:
        extra = {"action": "prune_failed"}
        _log.warning("%d old runs could not be removed, e.g.: %s", len(failures), failures[0], extra=extra)


def _old(runs: Path, before: float, keep_runs: int) -> list[Path]:
    newest_first = sorted(_written(runs), reverse=True)
    return [folder for number, (at, folder) in enumerate(newest_first) if at < before or number >= keep_runs]


def _written(runs: Path) -> Iterator[tuple[float, Path]]:
    """Every run with the time at which its state was last written."""
    for folder in runs.iterdir():
        try:
            yield (folder / retirement.DATABASE).stat().st_mtime, folder
        except OSError:
            continue  # just made, just removed, or nothing of ours
