"""The log store on disk: one file for each attempt, `<folder>/<group>/<task>.<attempt>.log` (see `framing` for its bytes)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from runner import removal
from runner.logs import holes, rewriting
from runner.logs.copying import KeptCopy, LogCopy
from runner.logs.reader import FileLogReader, file_name
from runner.logs.sink import CallSoon, Growth, MaskingSink
from runner.logs.writing import Writer, log_context
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import LogSink, Redaction
from runner.sealing import Sealer


class FileLogStore(FileLogReader):
    """Implements runner.logs.base.LogStore. A position is a place in the file. Files are 0600, folders 0700.

    Writes reach the operating system at once, one call each, and are not synced: a log survives the runner's death, not
    every loss of power. Raises OSError where the disk does not do what it is asked, and StoreCorruptError.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        sealer: Sealer,
        limit: int = 0,
        now: Callable[[], float] = time.time,
        call_soon: CallSoon | None = None,
        punch: holes.Punch | None = None,
    ) -> None:
        """`sealer` for what is held back; `limit` in bytes of each log, 0 for none; `now` in seconds since the epoch;
        `call_soon` as in `Growth`; `punch` gives room back in place of the system's own way."""
        super().__init__(folder)
        self._sealer = sealer
        self._limit = limit
        self._now = now
        self._holes = holes.Holes(punch)
        self._growth = Growth(call_soon)
        self._writers: dict[AttemptId, Writer] = {}
        self._written = 0

    def open(self, id: AttemptId, masker: Masker) -> LogSink:
        return MaskingSink(masker, self._writer(id))

    def copy(self, id: AttemptId) -> LogCopy:
        return KeptCopy(self._writer(id))

    def _writer(self, id: AttemptId) -> Writer:
        writer = self._writers.get(id)
        if writer is None:
            writer = self._writers[id] = Writer(id, self._path, self._sealer, self._now, self._holes, self._limit)
            writer.on_append = self._grew
            writer.on_close = self._closed
        writer.users += 1
        return writer

    def _grew(self, id: AttemptId, bytes: int) -> None:
        self._written += bytes
        self._growth.note(id)

    @property
    def written(self) -> int:
        return self._written

    def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]:
        path = self._path(id)
        with self._reading(id) as reader:
            told = rewriting.redact(reader, path, masker) if reader else []
        if told:
            writer = self._writers.get(id)
            if writer is not None:
                writer.reopen()
            self._places.forget(id)
        return told

    def reseal(self, id: AttemptId) -> int:
        """Seal with the present key what was sealed with the former one; how many secrets there were. While nobody writes this
        log. Raises SealError too."""
        context = log_context(id)

        def anew(secret: bytes) -> bytes:
            return (
                self._sealer.seal(self._sealer.unseal(secret, context), context)
                if self._sealer.is_former(secret)
                else secret
            )

        with self._reading(id) as reader:
            return rewriting.reseal(reader, self._path(id), anew) if reader else 0

    def subscribe(self, callback: Callable[[AttemptId], None]) -> Callable[[], None]:
        return self._growth.subscribe(callback)

    def delete_group(self, group: str) -> None:
        for id in [id for id in self._writers if id.group == group]:
            self._writers.pop(id).abandon()
        self._places.forget_group(group)
        with suppress(FileNotFoundError):
            (self._folder / file_name(group)).rename(removal.aside(self._folder))

    def purge(self) -> None:
        with suppress(FileNotFoundError):
            removal.remove_aside(self._folder)

    def size(self, group: str) -> int:
        with suppress(FileNotFoundError), os.scandir(self._folder / file_name(group)) as files:
            return sum(_blocks(file) for file in files)
        return 0

    def close(self) -> None:
        for writer in self._writers.values():
            writer.abandon()
        self._writers.clear()

    def _closed(self, id: AttemptId) -> None:
        self._writers.pop(id, None)


def _blocks(file: os.DirEntry[str]) -> int:
    """What it takes on the disk: holes take nothing."""
    with suppress(FileNotFoundError):
        return file.stat(follow_symlinks=False).st_blocks * 512
    return 0
