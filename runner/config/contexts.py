"""The nodes that this user speaks with, each under a name of its own, in one file.

current = "build"                       # the one that is meant where none is named

[contexts.build]
target = "build.example:8443"           # or unix:/path/of/a/socket
ca = "ca.pem"                           # paths count from the folder of this file
certificate = "ada.pem"
key = "ada.key"
server_name = "build"                   # where the certificate is for another name than the target's
token_file = "build.token"              # or token = "rt_…"
insecure = false                        # true: no TLS, also over a network
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import asdict, fields, replace

from runner.errors import UsageError
from runner.model.endpoint import Endpoint
from runner.model.fault import nearest

PATHS = ("ca", "certificate", "key", "token_file")
LONGEST_FILE_BYTES = 1 << 20

_FIELDS: dict[str, type] = {field.name: bool if field.name == "insecure" else str for field in fields(Endpoint)}


class Contexts(Struct, frozen=True, kw_only=True):
    current: str | None = None
    contexts: Mapping[str, Endpoint] = {}

    def named(self, name: str) -> Endpoint:
        """Raises UsageError."""
        try:
            return self.contexts[name]
        except KeyError:
            hint = nearest(name, self.contexts)
            more = f" ({hint})" if hint else ""
            raise UsageError(
                f"there is no context {name!r}{more}; `runner context ls` shows those that there are"
            ) from None

    def with_context(self, name: str, endpoint: Endpoint) -> Contexts:
        return replace(self, contexts={**self.contexts, name: endpoint})

    def without(self, name: str) -> Contexts:
        """Raises UsageError."""
        self.named(name)
        left = {other: endpoint for other, endpoint in self.contexts.items() if other != name}
        return Contexts(current=None if self.current == name else self.current, contexts=left)


def load(path: Path) -> Contexts:
    """What the file says; nothing where there is none. Raises UsageError with what is wrong in it, and where others than its
    owner may read it, for it may hold tokens."""
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(LONGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UsageError(f"{path} may hold tokens, and others may use it (mode {mode:04o}): chmod 600 {path}")
    if len(data) > LONGEST_FILE_BYTES:
        raise UsageError(f"{path} is over {LONGEST_FILE_BYTES:,} bytes: that is no file of contexts; move it away")
    try:
        plain = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return _read(path, plain)


def save(path: Path, contexts: Contexts) -> None:
    """In place of what was there, 0600. Raises UsageError."""
    lines = [] if contexts.current is None else [f"current = {_quoted(contexts.current)}", ""]
    for name, endpoint in contexts.contexts.items():
        lines.append(f"[contexts.{_quoted(name)}]")
        lines += [f"{key} = {_quoted(value)}" for key, value in asdict(endpoint).items() if value]
        lines.append("")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write("\n".join(lines))
            os.replace(draft, os.path.realpath(path))
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _quoted(value: str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not value.isprintable():
        raise UsageError(f"{value!r} holds characters that cannot be kept; give it without them")
    return json.dumps(value, ensure_ascii=False)


def _read(path: Path, plain: Mapping[str, Any]) -> Contexts:
    _check_known(path, "", plain, ("current", "contexts"))
    current, tables = plain.get("current"), plain.get("contexts", {})
    if current is not None and not isinstance(current, str):
        raise UsageError(f"{path}: current: expected the name of a context")
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: contexts: expected tables such as [contexts.build]")
    return Contexts(current=current, contexts={name: _endpoint(path, name, given) for name, given in tables.items()})


def _endpoint(path: Path, name: str, given: Any) -> Endpoint:
    place = f"contexts.{name}"
    if not isinstance(given, dict):
        raise UsageError(f'{path}: {place}: expected a table with at least target = "host:port"')
    _check_known(path, f"{place}.", given, tuple(_FIELDS))
    for key, value in given.items():
        if not isinstance(value, _FIELDS[key]):
            raise UsageError(f"{path}: {place}.{key}: expected {'true or false' if _FIELDS[key] is bool else 'a text'}")
    if "target" not in given:
        raise UsageError(f'{path}: {place}: target is missing, e.g. target = "build.example:8443"')
    located = {
        key: str(path.parent / os.path.expanduser(value)) if key in PATHS else value for key, value in given.items()
    }
    try:
        return convert(located, Endpoint).checked()
    except UsageError as error:
        raise UsageError(f"{path}: {place}: {error.message}") from error


def _check_known(path: Path, place: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            hint = nearest(key, known) or f"known are {', '.join(known)}"
            raise UsageError(f"{path}: {place}{key} is not known ({hint})")
