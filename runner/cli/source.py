"""Which file a run was of, kept in its folder: who does the run again is told when that file says something else by now."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from runner.cli.document import STDIN, read_file
from runner.errors import UsageError

FILE = "source"


class Source(Struct, frozen=True, kw_only=True):
    """`path` is absolute, and may be no text; `digest` is that of the document's bytes as they were run."""

    path: bytes
    digest: str

    @classmethod
    def of(cls, name: str, data: bytes) -> Source | None:
        """None for what cannot be read again: standard input, a pipe, what a descriptor of this process alone names."""
        path = os.path.abspath(name)
        if name == STDIN or not os.path.isfile(path) or path.startswith(("/dev/", "/proc/")):
            return None
        return cls(path=os.fsencode(path), digest=_digest(data))

    @classmethod
    def kept_in(cls, run_dir: Path) -> Source | None:
        """None where nothing is known of it."""
        try:
            return msgspec.json.decode((run_dir / FILE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, run_dir: Path) -> None:
        """Nothing but a hint hangs on it: that it cannot be written is no reason not to run."""
        with suppress(OSError), open(run_dir / FILE, "wb", opener=_private) as file:
            file.write(msgspec.json.encode(self))

    def changed(self) -> str | None:
        """How a person here names the file, if it says something else by now."""
        path = os.fsdecode(self.path)
        try:
            # Where it is gone, or no file any more, there is nothing else that could be run.
            if not os.path.isfile(path) or _digest(read_file(path)) == self.digest:
                return None
        except UsageError:
            return None
        nearer = os.path.relpath(path)
        return path if nearer.startswith("..") else nearer


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
