"""Reads documents for commands."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.model.limits import Limits

if TYPE_CHECKING:
    from drivers.registry import Registry
    from runner.validation import Judge, Loaded

STDIN = "-"

LARGEST_FILE_BYTES = 4 << 20
"""Of what is no document."""


def read_document(name: str, registry: Registry, judge: Judge | None = None) -> Loaded:
    """The group in the file `name` (`-`: standard input) with its warnings; `judge` is that of `validation.load`. Raises
    DocumentError with every fault, or UsageError when the file cannot be read."""
    return checked_document(name, read_file(name), registry, judge)


def checked_document(name: str, data: bytes, registry: Registry, judge: Judge | None = None) -> Loaded:
    """The same of what was read already. Raises DocumentError."""
    from runner.validation import load  # a command that submits to a node leaves that to the node

    return load(data, source=source_name(name), registry=registry, judge=judge)


def source_name(name: str) -> str:
    """How messages call the file."""
    return "<stdin>" if name == STDIN else name


def read_file(name: str) -> bytes:
    """The bytes of the file, no more of it than a document may have and one. Raises UsageError."""
    source = source_name(name)
    try:
        with open(0 if name == STDIN else name, "rb", closefd=name != STDIN) as file:
            # One byte more than is allowed, so that an endless file is refused and not read for ever.
            return file.read(Limits().document_bytes + 1)
    except FileNotFoundError:
        raise UsageError(
            f"{source}: there is no such file{_meant(name)}; give the path of a task group, or - for standard input"
        ) from None
    except IsADirectoryError:
        raise UsageError(f"{source}: this is a folder; give the path of a task group in it") from None
    except (OSError, ValueError) as error:
        detail = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise UsageError(
            f"{source}: cannot be read: {detail}; give the path of a task group that you may read"
        ) from None


def _meant(name: str) -> str:
    """The document beside it that has nearly that name; endings are so much the same that they do not count."""
    from runner.cli import meant  # for those who were mistaken

    folder, last = os.path.split(name)
    with suppress(OSError, ValueError):
        entries = sorted(entry for entry in os.listdir(folder or ".") if entry.endswith(meant.DOCUMENTS))
        named = {os.path.splitext(entry)[0]: os.path.join(folder, entry) for entry in entries}
        return meant.nearest(os.path.splitext(last)[0], named, named)
    return ""


def read_small_file(option: str, path: Path) -> bytes:
    """The bytes of a file that `option` names. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{option}: {path} cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise UsageError(f"{option}: {path} has more than {LARGEST_FILE_BYTES:,} bytes")
    return data
