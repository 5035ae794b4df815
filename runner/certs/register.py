"""What an authority has issued, a line for each certificate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FILE = "issued"


class Register:
    """In the folder of the authority, of which one changes it at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def add(self, serial: int, kind: str, name: str) -> None:
        """Before there is a certificate: one that is not on the list could not be revoked."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{serial:x} {kind} {name}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> Iterator[tuple[int, str, str]]:
        """Serial number, kind and name of each."""
        with suppress(FileNotFoundError):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                match line.split():
                    case [serial, kind, name]:  # else whoever wrote it was killed
                        yield int(serial, 16), kind, name
