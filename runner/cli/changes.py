"""Tells when files change that a command has read, or that a pattern names."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runner.errors import RunnerError, UsageError

DEBOUNCE_MILLISECONDS = 1000
STEP_MILLISECONDS = 100
"""What changes within this time of something else is one change: editors write in several steps, and replace files by others."""

LOOK_MILLISECONDS = 1000
"""How often files are looked at of which nothing was heard: their folder may have been replaced, or be on another machine."""

LARGE_BYTES = 4 << 20
"""Of a larger file its size and time are compared, not its content."""

_MAGIC = re.compile(r"[*?\[]")
_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|[^*?\[]+|\[")


class Changes:
    """Watches from `start` to `stop`, in a thread. `names` are as a person calls what is watched."""

    def __init__(self, files: Sequence[Path], patterns: Sequence[str], on_change: Callable[[str], None]) -> None:
        """`on_change` is called in that thread with what has changed, or with the empty text where nothing can be watched any more: see
        `failure`. Raises UsageError for what cannot be watched."""
        self.names = [*map(str, files), *patterns]
        self.failure: RunnerError | None = None
        self._files = {_absolute(file): str(file) for file in files}
        self._patterns = [_compiled(pattern) for pattern in map(_absolute, patterns)]
        self._bases = list(dict.fromkeys(_base(pattern) for pattern in map(_absolute, patterns)))
        for file in self._files:
            if os.path.exists(file) and not os.path.isfile(file):
                raise UsageError(f"{self._files[file]}: only a file can be read again when it changes")
        for base in self._bases:
            if not os.path.isdir(base):
                raise UsageError(f"--watch-path: {base}: there is no such folder to watch")
        self._marks: dict[str, object] = {file: _mark(file) for file in self._files}
        self._before = self._named()
        self._lock = threading.Lock()
        self._on_change = on_change
        self._stop = threading.Event()

    def start(self) -> None:
        folders = {os.path.dirname(path) for file in self._files for path in (file, os.path.realpath(file))}
        self._begin(sorted(folder for folder in folders if os.path.isdir(folder)), recursive=False)
        if self._bases:
            self._begin(self._bases, recursive=True)

    def stop(self) -> None:
        self._stop.set()

    def _begin(self, folders: Sequence[str], *, recursive: bool) -> None:
        threading.Thread(target=self._watch, args=(folders, recursive), name="changes", daemon=True).start()

    def _watch(self, folders: Sequence[str], recursive: bool) -> None:
        before: Mapping[str, object] | None = self._before
        try:
            from watchfiles import Change, watch  # not for those who run once

            for changes in watch(
                *folders,
                watch_filter=None,
                debounce=DEBOUNCE_MILLISECONDS,
                step=STEP_MILLISECONDS,
                stop_event=self._stop,
                rust_timeout=LOOK_MILLISECONDS,
                yield_on_timeout=True,
                recursive=recursive,
                raise_interrupt=False,
            ):
                found = [path for _, path in changes]
                found += [below for kind, path in changes if kind is Change.added for below in _below(path)]
                if recursive and before is not None:  # what has changed while nobody watched yet
                    now = self._named()
                    found += [path for path in {*before, *now} if before.get(path) != now.get(path)]
                    before = None
                self._look(found if recursive else ())
        except Exception as error:  # noqa: BLE001 (the library and the system have many, and all end the watch)
            self.failure = RunnerError(f"what changes cannot be watched: {error}")
            self._on_change("")

    def _named(self) -> Mapping[str, object]:
        """What the patterns name at this moment, with what differs once it is written to."""
        found: dict[str, object] = {}
        hidden = any(f"{os.sep}." in pattern.pattern.replace("\\", "") for pattern in self._patterns)
        for base in self._bases:
            for folder, folders, names in os.walk(base):
                if not hidden:
                    folders[:] = [name for name in folders if not name.startswith(".")]
                for path in (os.path.join(folder, name) for name in names):
                    if any(pattern.fullmatch(path) for pattern in self._patterns):
                        with suppress(OSError):
                            status = os.stat(path)
                            found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return found

    def _look(self, paths: Iterable[str]) -> None:
        """Tell what has changed, if anything has, once nobody writes to it any more."""
        fitting = [path for path in paths if any(pattern.fullmatch(path) for pattern in self._patterns)]
        with self._lock:
            marks = {path: _mark(path) for path in (*self._files, *fitting)}
            while self._differing(marks) and not self._stop.wait(STEP_MILLISECONDS / 1000):
                before, marks = marks, {path: _mark(path) for path in marks}
                if before == marks:
                    break
            changed = self._differing(marks)
            self._marks.update(marks)
        if changed:
            first = self._files.get(changed[0]) or os.path.relpath(changed[0])
            self._on_change(first + (f" and {len(changed) - 1} more" if len(changed) > 1 else ""))

    def _differing(self, marks: Mapping[str, object]) -> list[str]:
        return [path for path, mark in marks.items() if path not in self._marks or self._marks[path] != mark]


def _absolute(path: str | Path) -> str:
    return os.path.join(os.getcwd(), path) if not os.path.isabs(path) else str(path)


def _below(path: str) -> Iterator[str]:
    """Of a folder that is new nobody may have heard what has been put into it."""
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, name) for name in names)


def _mark(path: str) -> object:
    """What differs once the content does. None of what is not there."""
    try:
        status = os.stat(path)
        if status.st_size > LARGE_BYTES or not os.path.isfile(path):
            return (status.st_size, status.st_mtime_ns, status.st_ino)
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).digest()
    except OSError:
        return None


def _base(pattern: str) -> str:
    """The folder that all lie in that it names."""
    found = _MAGIC.search(pattern)
    whole = pattern if found is None else pattern[: found.start()]
    return os.path.dirname(whole) or "/"


def _compiled(pattern: str) -> re.Pattern[str]:
    """As a shell means it, with `**` for any number of folders. What is hidden has to be named."""
    parts = []
    for match in _PIECE.finditer(pattern):
        piece = match[0]
        hidden = r"(?!\.)" if match.start() == 0 or pattern[match.start() - 1] == "/" else ""
        match piece:
            case "**/":
                parts.append(r"(?:(?!\.)[^/]+/)*")
            case "**":
                parts.append(r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+")
            case "*":
                parts.append(f"{hidden}[^/]*")
            case "?":
                parts.append(f"{hidden}[^/]")
            case _ if piece[0] == "[" and len(piece) > 1:
                inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
                parts.append(f"{hidden}[{'^' + inner[1:] if inner[:1] == '!' else inner}]")
            case _:
                parts.append(re.escape(piece))
    return re.compile("".join(parts))
