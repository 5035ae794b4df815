"""The files of one attempt in the runner's private folder: what it exports by, and its script where the shell wants a file."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from runner.errors import DriverError, OutputFileError
from runner.model.outputfile import MAX_OUTPUT_FILE_BYTES, parse_output

VARIABLE = "OUTPUT_FILE"
_BASE = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True, kw_only=True)
class AttemptFiles:
    """Where they lie. The same for the same key, so that an attempt of a former runner is found again."""

    output: str
    named_output: str
    script: str
    task_name: str
    absent: set[str] = field(default_factory=set)
    """Of these paths: where nothing was, or was made, when this process looked last."""

    @classmethod
    def of(cls, temp: str, key: str, task_name: str, suffix: str = "") -> AttemptFiles:
        base = os.path.join(temp, _base(key))
        output = f"{base}.output"
        return cls(output=output, named_output=f"{output}_{task_name}", script=f"{base}{suffix}", task_name=task_name)

    def make(self, script: str | None) -> None:
        """Make what the program will find. What a former start of the same attempt made is kept. Raises DriverError."""
        try:
            _create(self.output, b"")
            if script is None:
                self.absent.add(self.script)
            else:
                _create(self.script, script.encode())
        except OSError as error:
            raise DriverError(f"cannot make the attempt's files: {error.strerror}", reason="start_failed") from error

    def read(self) -> dict[str, str]:
        """The exported variables. Raises OutputFileError, which names the file as the program knows it."""
        main = _content(self.output, f"${VARIABLE}") or b""
        named = _content(self.named_output, f"${{{VARIABLE}}}_{self.task_name}")
        if named is None:
            self.absent.add(self.named_output)
            named = b""
        if len(main) + len(named) > MAX_OUTPUT_FILE_BYTES:
            raise OutputFileError(f"${VARIABLE}: more than the {MAX_OUTPUT_FILE_BYTES:,} bytes that are allowed")
        values = parse_output(main, f"${VARIABLE}") if main else {}
        if named:
            values |= parse_output(named, f"${{{VARIABLE}}}_{self.task_name}")
        return values

    def remove(self) -> None:
        """May be repeated."""
        for path in {self.output, self.named_output, self.script} - self.absent:
            # A program may have put a folder there; the runner's private folder goes as a whole some day.
            with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                os.unlink(path)


def sweep(temp: str, live: Iterable[str]) -> None:
    """Remove the files of all attempts but those with these keys. They may hold what a task exported."""
    kept = {_base(key) for key in live}
    for name in os.listdir(temp):
        base, dot, _ = name.partition(".")
        if dot and _BASE.fullmatch(base) and base not in kept:
            with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                os.unlink(os.path.join(temp, name))


def _base(key: str) -> str:
    """What the names of an attempt's files begin with."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _create(path: str, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _content(path: str, name: str) -> bytes | None:
    """What a regular file holds, at most one byte more than is allowed; None where there is no file."""
    try:
        # Without O_NONBLOCK a named pipe would hold the runner up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputFileError(f"{name}: it is a symbolic link, which is not followed") from None
        raise OutputFileError(f"{name}: it cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OutputFileError(f"{name}: it is not a regular file")
        return _read(descriptor, MAX_OUTPUT_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _read(descriptor: int, limit: int) -> bytes:
    data = os.read(descriptor, limit)
    while len(data) < limit and (more := os.read(descriptor, limit - len(data))):
        data += more
    return data
