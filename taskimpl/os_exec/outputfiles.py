"""The files of one attempt in the runner's private folder: what it exports by, and its script where the shell wants a file.

Those of a program that runs as another user lie in a folder of its own there, which only that user can enter.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
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
    """Where they lie. The same for the same key, so that an attempt of a former runner is found again.

    `owner` is the (uid, gid) of the program, where that is given, and `folder` then their own.
    """

    output: str
    named_output: str
    script: str
    task_name: str
    folder: str | None = None
    owner: tuple[int, int] | None = None
    absent: set[str] = field(default_factory=set)
    """Of these paths: where nothing was, or was made, when this process looked last."""

    @classmethod
    def of(
        cls, temp: str, key: str, task_name: str, suffix: str = "", owner: tuple[int, int] | None = None
    ) -> AttemptFiles:
        base = os.path.join(temp, _base(key))
        folder = base if owner else None
        if owner:
            base = os.path.join(base, "task")
        output = f"{base}.output"
        return cls(
            output=output,
            named_output=f"{output}_{task_name}",
            script=f"{base}{suffix}",
            task_name=task_name,
            folder=folder,
            owner=owner,
        )

    def make(self, script: str | None) -> None:
        """Make what the program will find. What a former start of the same attempt made is kept. Raises DriverError."""
        try:
            if self.folder is not None:
                _make_folder(self.folder)
            _create(self.output, b"", self.owner)
            if script is None:
                self.absent.add(self.script)
            else:
                _create(self.script, script.encode(), self.owner)
            if self.folder is not None and self.owner is not None:
                os.chown(self.folder, *self.owner, follow_symlinks=False)  # last: until here nobody else can enter it
        except OSError as error:
            raise DriverError(f"cannot make the attempt's files: {error.strerror}", reason="start_failed") from error

    def read(self) -> dict[str, str]:
        """The exported variables. Raises OutputFileError, which names the file as the program knows it."""
        main = _content(self.output, f"${VARIABLE}", self.owner) or b""
        named = _content(self.named_output, f"${{{VARIABLE}}}_{self.task_name}", self.owner)
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
        """May be repeated. With a folder of their own, it takes as long as it takes to remove all that is in it."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in {self.output, self.named_output, self.script} - self.absent:
            # A program may have put a folder there; the runner's private folder goes as a whole some day.
            with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                os.unlink(path)


def sweep(temp: str, live: Iterable[str]) -> None:
    """Remove the files of all attempts but those with these keys. They may hold what a task exported."""
    kept = {_base(key) for key in live}
    for name in os.listdir(temp):
        base, dot, _ = name.partition(".")
        if not _BASE.fullmatch(base) or base in kept:
            continue
        path = os.path.join(temp, name)
        if not dot:
            shutil.rmtree(path, ignore_errors=True)
            continue
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(path)


def _base(key: str) -> str:
    """What the names of an attempt's files begin with."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _make_folder(path: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def _create(path: str, content: bytes, owner: tuple[int, int] | None = None) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        if owner is not None:
            os.fchown(descriptor, *owner)
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _content(path: str, name: str, owner: tuple[int, int] | None = None) -> bytes | None:
    """What a regular file holds, at most one byte more than is allowed; None where there is no file.

    With an owner, a file of somebody else is refused: it would be one that the program may have no right to read.
    """
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
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OutputFileError(f"{name}: it is not a regular file")
        if owner is not None and status.st_uid != owner[0]:
            raise OutputFileError(f"{name}: it belongs to another user than the task's")
        return _read(descriptor, MAX_OUTPUT_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _read(descriptor: int, limit: int) -> bytes:
    data = os.read(descriptor, limit)
    while len(data) < limit and (more := os.read(descriptor, limit - len(data))):
        data += more
    return data
