"""Whether any package that is installed may name a driver: a look at a few files, where `importlib.metadata` takes two megabytes and as long
as all that `runner --version` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_DESCRIPTIONS = (".dist-info", ".egg-info")


def may_name(group: str, path: Sequence[str] | None = None) -> bool:
    """Whether a package on the path (`sys.path`) may have entry points of this group. True where that takes more than a look: for what is in a
    zip file, or is found in a way of its own."""
    if path is None:
        path = sys.path
        if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if not _is_of_python(finder)):
            return True
    return any(_names(entry or os.curdir, group.encode()) for entry in dict.fromkeys(path))


def _is_of_python(finder: object) -> bool:
    return getattr(finder, "__module__", None) == "_frozen_importlib_external"


def _names(folder: str, group: bytes) -> bool:
    if os.path.isfile(folder):
        return True
    try:
        with os.scandir(folder) as entries:
            described = [entry.path for entry in entries if entry.name.lower().endswith(_DESCRIPTIONS)]
    except OSError:
        return False
    return any(_says(os.path.join(each, "entry_points.txt"), group) for each in described)


def _says(file: str, group: bytes) -> bool:
    try:
        with open(file, "rb") as opened:
            return group in opened.read()
    except OSError:
        return False
