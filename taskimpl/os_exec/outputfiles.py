"""The files of one attempt in the runner's private folder: what it exports by, its script where the shell wants a file, and
those that it is given.

Those of a program that runs as another user lie in a folder of its own there, which only that user can enter.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from runner.errors import DriverError, OutputFileError
from runner.lazily import Lazily
from runner.model.fragments import parse_malformed
from runner.model.outputfile import MAX_OUTPUT_FILE_BYTES, parse_begun, parse_output
from runner.removal import remove_tree
from taskimpl.os_exec.givenfiles import GivenFiles, Owner, write_private

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = Lazily("asyncio")

VARIABLE = "OUTPUT_FILE"
_BASE = re.compile(r"[0-9a-f]{32}")

MAX_LOOKED_BYTES = 64 << 20
"""How much is read of an attempt's files while it runs: a program may write them again and again."""
_SOON_PARSED_BYTES = 64 << 10
"""So much is parsed in a few milliseconds."""
_TICK_NS = 20_000_000
"""More than what passes between two ticks of the clock by which file systems tell when a file was changed."""


class _State(NamedTuple):
    """By which another content of a file is told."""

    inode: int
    size: int
    changed_ns: int


class AttemptFiles(Struct, kw_only=True):
    """Where they lie. The same for the same key, so that an attempt of a former runner is found again.

    `owner` is the (uid, gid) of the program, where that is given, and `folder` then their own.
    """

    output: str
    named_output: str
    script: str
    suffix: str
    """What the name of the script ends with."""
    given: GivenFiles
    task_name: str
    folder: str | None = None
    owner: Owner | None = None
    absent: set[str] = field(default_factory=set)
    """Of these paths: where nothing was, or was made, when this process looked last."""
    looked_at: dict[str, _State | None] = field(default_factory=dict)
    """By path: how the file was when it was looked at while the program ran."""
    looked_bytes: int = 0
    readings: list[tuple[str, str]] | None = None
    """Of malformed files: what they may have meant, once the program has ended."""

    @classmethod
    def of(cls, temp: str, key: str, task_name: str, suffix: str = "", owner: Owner | None = None) -> AttemptFiles:
        base = os.path.join(temp, _base(key))
        folder = base if owner else None
        if owner:
            base = os.path.join(base, "task")
        output = f"{base}.output"
        task_name = task_name.partition("[")[0]  # of the instances of a matrix all have the same
        return cls(
            output=output,
            named_output=f"{output}_{task_name}",
            script=f"{base}{suffix}",
            suffix=suffix,
            given=GivenFiles(folder=f"{base}.files", owner=owner),
            task_name=task_name,
            folder=folder,
            owner=owner,
        )

    def make(self, script: str | None, given: Mapping[str, str]) -> None:
        """Make what the program will find. What a former start of the same attempt made is kept. Raises DriverError."""
        try:
            if self.folder is not None:
                _make_folder(self.folder)
            _create(self.output, self.owner)
            if script is None:
                self.absent.add(self.script)
            else:
                _create_whole(self.script, script.encode(), self.owner)
            if given:
                self.given.make(given)
            else:
                self.absent.add(self.given.folder)
            if self.folder is not None and self.owner is not None:
                os.chown(self.folder, *self.owner, follow_symlinks=False)  # last: until here nobody else can enter it
        except OSError as error:
            where = os.path.dirname(self.output)
            message = f"cannot make the attempt's files in {where}: {error.strerror}"
            raise DriverError(message, reason="start_failed") from error

    def read(self) -> dict[str, str]:
        """The exported variables. Raises OutputFileError, which names the file as the program knows it."""
        return self._parsed(*self._contents())

    async def read_aside(self) -> dict[str, str]:
        """As `read`, but what takes long to parse does not hold up the loop."""
        main, named = self._contents()
        if len(main) + len(named) <= _SOON_PARSED_BYTES:
            return self._parsed(main, named)
        return await asyncio.to_thread(self._parsed, main, named)

    def _contents(self) -> tuple[bytes, bytes]:
        main = _content(self.output, f"${VARIABLE}", self.owner) or b""
        named = _content(self.named_output, f"${{{VARIABLE}}}_{self.task_name}", self.owner)
        if named is None:
            self.absent.add(self.named_output)
            named = b""
        if len(main) + len(named) > MAX_OUTPUT_FILE_BYTES:
            raise OutputFileError(
                f"${VARIABLE}: more than the {MAX_OUTPUT_FILE_BYTES:,} bytes that are allowed; export less, or write a file in the workspace"
            )
        return main, named

    def _parsed(self, main: bytes, named: bytes) -> dict[str, str]:
        values = parse_output(main, f"${VARIABLE}") if main else {}
        if named:
            values |= parse_output(named, f"${{{VARIABLE}}}_{self.task_name}")
        return values

    def look(self) -> Iterator[tuple[str, str]]:
        """What is exported by now, names and values, while the program still writes it; nothing where that was told before. Two
        looks at the folder, as long as the files stay as they are. Behind `interpret`: what that has found."""
        if self.readings is not None:
            yield from self.readings
            return
        for path in (self.output, self.named_output):
            state = _state(path)
            if state == self.looked_at.get(path):
                continue
            data = b""
            if state is not None and self.looked_bytes < MAX_LOOKED_BYTES:
                data = self._looked_at(path)
            self.looked_bytes += len(data)
            # A file may be changed again within the tick.
            if state is None or time.time_ns() - state.changed_ns > _TICK_NS:
                self.looked_at[path] = state
            yield from parse_begun(data)

    def interpret(self) -> None:
        """Of malformed files, whose program has ended: what they may have meant, for `look`. May take a second."""
        paths = (self.output, self.named_output)
        self.readings = [pair for path in paths for pair in parse_malformed(self._looked_at(path))]

    def _looked_at(self, path: str) -> bytes:
        """Empty where it cannot be read, which is told when the program has ended."""
        with suppress(OSError, OutputFileError):
            return _content(path, "", self.owner) or b""
        return b""

    async def remove(self) -> None:
        """May be repeated."""
        if self.folder is None:
            for path in {self.output, self.named_output, self.script} - self.absent:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError:  # a program has put a folder there, and may have filled it
                    await asyncio.to_thread(remove_tree, path)
        # What a program has put into folders may be much, and the loop has others to serve.
        if self.given.folder not in self.absent:
            await asyncio.to_thread(self.given.remove)
        if self.folder is not None:
            await asyncio.to_thread(remove_tree, self.folder)


def salvage(temp: str, key: str, task_name: str) -> list[tuple[str, str]]:
    """Names and values that a lost attempt had exported, or may have meant to."""
    base = os.path.join(temp, _base(key))
    owner = None
    with suppress(FileNotFoundError):
        status = os.lstat(base)
        owner = (status.st_uid, status.st_gid) if stat.S_ISDIR(status.st_mode) else None
    files = AttemptFiles.of(temp, key, task_name, owner=owner)
    found = list(files.look())
    try:
        return list(dict.fromkeys([*found, *files.read().items()]))
    except OutputFileError:
        files.interpret()
        return list(dict.fromkeys([*found, *files.look()]))


def clear(temp: str, key: str) -> None:
    """Remove all that the attempt has left."""
    _remove(temp, lambda found: found == _base(key))


def sweep(temp: str, live: Collection[str]) -> None:
    """Remove the files of all attempts but those with these keys. They may hold what a task exported, or was given."""
    kept = {_base(key) for key in live}
    _remove(temp, lambda base: base not in kept)


def _remove(temp: str, wanted: Callable[[str], bool]) -> None:
    """The files of those attempts whose base is `wanted`."""
    for name in os.listdir(temp):
        base = name.partition(".")[0]
        if _BASE.fullmatch(base) and wanted(base):
            remove_tree(os.path.join(temp, name))


def _base(key: str) -> str:
    """What the names of an attempt's files begin with."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _make_folder(path: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def _create(path: str, owner: Owner | None) -> None:
    with suppress(FileExistsError):
        write_private(path, b"", owner)


def _create_whole(path: str, content: bytes, owner: Owner | None) -> None:
    """Under its name it is whole: a former start of the same attempt may have ended in the middle."""
    if os.path.lexists(path):
        return
    draft = path + ".new"
    with suppress(FileNotFoundError):
        os.unlink(draft)
    try:
        write_private(draft, content, owner)
        os.rename(draft, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _content(path: str, name: str, owner: Owner | None = None) -> bytes | None:
    """What a regular file holds, at most one byte more than is allowed; None where there is no file.

    With an owner, a file of somebody else is refused: it would be one that the program may have no right to read.
    """
    try:
        looked = os.lstat(path)
        if not looked.st_size and stat.S_ISREG(looked.st_mode):
            return b""  # of most tasks: a third of what opening it costs
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


def _state(path: str) -> _State | None:
    """None where there is nothing to be read."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return _State(status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None


def _read(descriptor: int, limit: int) -> bytes:
    data = os.read(descriptor, limit)
    while len(data) < limit and (more := os.read(descriptor, limit - len(data))):
        data += more
    return data
