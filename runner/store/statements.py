"""The SQL that ships with the package: named statements and numbered migrations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


@cache
def queries() -> Mapping[str, str]:
    """The statements of `queries.sql` by the name above each."""
    _, *parts = _NAME.split(_folder().joinpath("queries.sql").read_text("utf-8"))
    return dict(zip(parts[::2], (body.strip() for body in parts[1::2]), strict=True))


@cache
def migrations() -> Sequence[str]:
    """The scripts in the order of their number: the one at index 0 leads from nothing to version 1, and so on."""
    found = {int(match[1]): file for file in _folder().iterdir() if (match := _MIGRATION.fullmatch(file.name))}
    return [found[number].read_text("utf-8") for number in range(1, len(found) + 1)]


def _folder() -> Path:
    """A package that is read from an archive could not start its supervisor either; importlib.resources is slow to import."""
    return Path(__file__).with_name("sql")
