"""Replaces a log file by one in which more is masked. Every frame stays where it was, and a hole remains a hole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.logs import framing
from runner.logs.limit import Gap
from runner.logs.redaction import Redactor
from runner.masking import Masker
from runner.model.log import STREAMS, Redaction, Stream

_COPIED_BYTES = 1 << 20


def redact(reader: framing.Reader, path: Path, masker: Masker) -> Sequence[Redaction]:
    """Rewrite what `reader` reads, the file at `path`, unless nothing is to be masked in it. What the file now tells that it
    was masked, with what it told before. Raises OSError and StoreCorruptError; then the file is as it was."""
    masked = reader.masked
    streams = STREAMS if masker.active else ()
    found = [redaction for stream in streams if (redaction := _found(reader, stream, masker)) is not None]
    masked |= {redaction.stream: redaction.after(masked.get(redaction.stream)) for redaction in found}
    told = [masked[stream] for stream in STREAMS if stream in masked]
    if not found:
        return told
    with replacing(path) as descriptor:
        copy(reader, descriptor)
        gap = reader.gap
        for redaction in found:
            gap = _rewrite(reader, descriptor, redaction.stream, masker, gap)
        if gap is not None:
            write_all(descriptor, framing.MAGIC + framing.encode_gap(gap) + bytes(framing.GAP_BYTES), 0)
        write_all(descriptor, framing.encode_masked(masked), framing.MASKED_PLACE)
    return told


@contextmanager
def replacing(path: Path) -> Iterator[int]:
    """A descriptor of a new file, which takes the place of the one at `path` when all goes well."""
    new = _draft(path)  # a former one, left by a crash, is overwritten
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
        os.fsync(descriptor)
        os.replace(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            new.unlink()
        raise
    finally:
        os.close(descriptor)


def reseal(reader: framing.Reader, path: Path, anew: Callable[[bytes], bytes]) -> int:
    """Put `anew(secret)`, which has its length, in the place of every secret where it differs, if there is one; how many there were.
    Raises OSError, StoreCorruptError and what `anew` raises; then the file is as it was."""
    changed = []
    for head in reader.heads(0):
        content = reader.content(head) if head.secret_length else None
        if content is not None and (secret := anew(content.secret)) != content.secret:
            changed.append((head, framing.Content(content.data, secret)))
    if changed:
        with replacing(path) as descriptor:
            copy(reader, descriptor)
            for head, content in changed:
                write_all(descriptor, framing.encode(head, content), head.start)
    return len(changed)


def remove_draft(path: Path) -> None:
    """Of a rewriting that was killed: it shows what was to be masked."""
    with suppress(FileNotFoundError):
        _draft(path).unlink()


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _found(reader: framing.Reader, stream: Stream, masker: Masker) -> Redaction | None:
    redactor: Redactor[framing.Head] = Redactor(masker)
    for _ in _redacted(reader, stream, redactor):
        pass
    return Redaction(stream=stream, marks=redactor.marks, offset=redactor.offset) if redactor.marks else None


def _rewrite(reader: framing.Reader, descriptor: int, stream: Stream, masker: Masker, gap: Gap | None) -> Gap | None:
    """`gap`, with the offsets that it has in this stream now."""
    begin = 0
    for head, offset, data in _redacted(reader, stream, Redactor(masker)):
        content = reader.content(head)
        assert content is not None, "it was read a moment ago"
        encoded = framing.encode(head._replace(offset=offset), framing.Content(data, content.secret))
        write_all(descriptor, encoded, head.start)
        if gap is not None and head.start < gap.begin.place:
            begin = offset + len(data)
    return gap and gap.moved(stream, begin)


def _redacted(
    reader: framing.Reader, stream: Stream, redactor: Redactor[framing.Head]
) -> Iterator[tuple[framing.Head, int, bytes]]:
    gap = reader.gap
    if gap is None:
        return redactor.redacted(_frames(reader, stream, 0))
    head, tail = _frames(reader, stream, 0, gap.begin.place), _frames(reader, stream, gap.end.place)
    return redactor.redacted(head, gap.missing(stream), tail)


def _frames(
    reader: framing.Reader, stream: Stream, begin: int, end: int | None = None
) -> Iterator[tuple[framing.Head, bytes]]:
    for head in reader.heads(begin):
        if end is not None and head.start >= end:
            return
        if head.stream == stream:
            data = reader.data(head)
            if data is None:
                return
            yield head, data


def copy(reader: framing.Reader, descriptor: int) -> None:
    """All of the file: the frames of a stream in which nothing is masked stay as they are."""
    parts = [(0, reader.size)]
    if reader.gap is not None:
        parts = [(0, reader.gap.begin.place), (reader.gap.end.place, reader.size)]
    for begin, end in parts:
        for start in range(begin, end, _COPIED_BYTES):
            write_all(descriptor, os.pread(reader.descriptor, min(_COPIED_BYTES, end - start), start), start)


def write_all(descriptor: int, data: bytes, at: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:] if written else data, at + written)
