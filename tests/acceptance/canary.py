"""Looks for confidential values in everything that a run leaves behind or shows.

A *canary* is a value that occurs nowhere else. A *channel* is one way by which it could get out: something that yields named
pieces of bytes, each of which is searched for every canary in every spelling. To watch one more, write a function that yields
`(where, bytes)` and put it into the list that is given to `leaks`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

Piece = tuple[str, bytes]
Channel = Callable[[], Iterable[Piece]]

AWKWARD = "\"q' \\b/ä&<$+%"
"""What is spelled differently by nearly every encoding."""


def canary(name: str) -> str:
    """A value of one line with all that makes encodings differ, in the middle and at both ends."""
    return f"%{name}-{secrets.token_hex(6)}{AWKWARD}{secrets.token_urlsafe(9)}{name}+"


def spellings(value: str) -> Mapping[str, bytes]:
    """Every spelling in which `value` would be a leak, by name. Made without the code that is under test."""
    raw = value.encode()
    found = {
        "raw": raw,
        "reversed": raw[::-1],
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "percent": quote(value, safe="").encode(),
        "percent, path": quote(value, safe="/").encode(),
        "percent, all": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "JSON": json.dumps(value)[1:-1].encode(),
        "JSON, UTF-8": json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        "JSON in JSON": json.dumps(json.dumps(value))[3:-3].encode(),
        "Python": repr(value)[1:-1].encode(),
        "echo": value.replace("\\b", "\b").encode(),
        "UTF-16": value.encode("utf-16-le"),
    }
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw)
        # Only the characters that no byte before or behind the value has a part in.
        decided = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        found[f"base64 +{before}"] = decided
        found[f"base64url +{before}"] = decided.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def leaks(canaries: Mapping[str, str], channels: Iterable[Channel]) -> list[str]:
    """Where which canary was found, and how it was spelled there."""
    needles = [
        (f"{name} ({kind})", needle) for name, value in canaries.items() for kind, needle in spellings(value).items()
    ]
    return [
        f"{what} in {where}"
        for channel in channels
        for where, data in channel()
        for what, needle in needles
        if needle in data
    ]


def text(where: str, read: Callable[[], bytes]) -> Channel:
    """A stream that was kept."""
    return lambda: [(where, read())]


def files(folder: Path, *, but: Iterable[Path] = ()) -> Channel:
    """All files below a folder with their names and the targets of links, SQLite's write-ahead logs included."""

    def read() -> Iterator[Piece]:
        for parent, folders, names in os.walk(folder):
            for name in [*folders, *names]:
                path = Path(parent, name)
                if path in but:
                    continue
                yield f"the name of {path}", os.fsencode(name)
                if path.is_symlink():
                    yield f"the target of {path}", os.fsencode(os.readlink(path))
                elif path.is_file():
                    yield str(path), _read(path)

    return read


def database(path: Path) -> Channel:
    """What SQLite reads in a database: a long value may lie in pages that are far apart in the file."""

    def read() -> Iterator[Piece]:
        if path.exists():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for table in tables:
                    for row in connection.execute(f'SELECT * FROM "{table}"'):
                        for cell in row:
                            data = cell if isinstance(cell, bytes) else str(cell).encode()
                            yield f"a row of {table}", data
            finally:
                connection.close()

    return read


def processes(group: str, *, told: Collection[int] = ()) -> Channel:
    """The command lines and environments of all processes of the machine but those of the tasks of `group`. `told` are those
    that the user himself gave a secret in the environment."""

    def read() -> Iterator[Piece]:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                environment = _read(Path("/proc", entry, "environ"))
                if f"RUNNER_GROUP_ID={group}\0".encode() not in environment:
                    yield f"the command line of process {entry}", _read(Path("/proc", entry, "cmdline"))
                    if int(entry) not in told:
                        yield f"the environment of process {entry}", environment

    return read


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it was removed, or ended, meanwhile
        return b""
