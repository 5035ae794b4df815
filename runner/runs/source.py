"""Which file a run was of, kept in its folder: who does the run again is told when that file says something else by now."""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from runner import privatefile
from runner.sealing import Sealer

FILE = "source"


class Source(Struct, frozen=True, kw_only=True):
    """`path` is absolute, and may be no text; `digest` is that of the document's bytes as they were run, under the sealing key
    `key`: a document may have secrets, which nobody is to try out."""

    path: bytes
    key: str
    digest: str

    @classmethod
    def of(cls, name: str, data: bytes, sealer: Sealer) -> Source | None:
        """Of the file `name`. None for what cannot be read again: a pipe, what a descriptor of this process alone names."""
        path = os.path.abspath(name)
        if not os.path.isfile(path) or path.startswith(("/dev/", "/proc/")):
            return None
        return cls(path=os.fsencode(path), key=sealer.key_id, digest=_digest(data, sealer))

    @classmethod
    def kept_in(cls, run_dir: Path) -> Source | None:
        """None where nothing is known of it."""
        try:
            return msgspec.json.decode((run_dir / FILE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, run_dir: Path) -> None:
        """Nothing but a hint hangs on it: that it cannot be written is no reason not to run."""
        with suppress(OSError), open(run_dir / FILE, "wb", opener=privatefile.opener) as file:
            file.write(msgspec.json.encode(self))

    def changed(self, sealer: Sealer) -> str | None:
        """How a person here names the file, if it says something else by now. Under another key nothing can be compared."""
        path = os.fsdecode(self.path)
        if sealer.key_id != self.key:
            return None
        try:
            # Where it is gone, or no file any more, there is nothing else that could be run.
            if not os.path.isfile(path) or _digest(Path(path).read_bytes(), sealer) == self.digest:
                return None
        except OSError:
            return None
        nearer = os.path.relpath(path)
        return path if nearer.startswith("..") else nearer


def _digest(data: bytes, sealer: Sealer) -> str:
    return hmac.new(sealer.mac_key("source"), data, "sha256").hexdigest()
