"""Bearer tokens: `rt_<id>_<secret>`, of which the state directory keeps a hash.

<state directory>/tokens/       0700
    <id>.json                   0600: whose it is, what it allows, until when, and the SHA-256 of its secret

A file a token: one is made and revoked in one step, without a lock, and a node that runs sees either at its next use. The time at
which a file was changed is the day on which its token was last used.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from runner import privatefile
from runner.clock import rfc3339
from runner.config.service import DEFAULT_SCOPES, Scope
from runner.errors import StoreError, UnauthenticatedError, UsageError
from runner.model.caller import check_name

FOLDER = "tokens"
SECRET_BYTES = 32
ID_BYTES = 6
DEFAULT_LIFETIME_SECONDS = 90 * 86400.0
LONGEST_DESCRIPTION = 200

_DAY_SECONDS = 86400
_TOKEN = re.compile(rf"rt_([0-9a-f]{{{2 * ID_BYTES}}})_([0-9a-f]{{{2 * SECRET_BYTES}}})")
_ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")
_LARGEST_FILE_BYTES = 4096
_NOBODY = b"\0" * 32

UNKNOWN = (
    "this runner does not know the token: it may have been revoked, or be another runner's; "
    "`runner token create` makes a new one"
)
"""Said of every token that does not fit, so that nobody learns which ids there are."""


class Token(Struct, frozen=True, kw_only=True):
    """What is kept of one. `created` and `expires` are seconds since the epoch; one without `expires` is good for ever."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created: int
    expires: int | None
    sha256: str
    description: str = ""

    def is_over(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires


class Use(Struct, frozen=True, kw_only=True):
    """A token, and the moment of its first use on the last day of its use; None where there was none."""

    token: Token
    last: float | None


class Tokens:
    """Those of one state directory, which need not exist. `now` is always in seconds since the epoch."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER
        self._read: dict[str, tuple[tuple[int, int], Token]] = {}
        """By id: which file it was, and what stood in it."""

    def create(
        self,
        name: str,
        *,
        now: float,
        scopes: frozenset[Scope] = DEFAULT_SCOPES,
        lifetime: float | None = DEFAULT_LIFETIME_SECONDS,
        description: str = "",
    ) -> tuple[Token, str]:
        """A new token for `name` that is good for `lifetime` seconds (None: for ever), and its text, which is kept nowhere.
        Raises UsageError for what cannot be, StoreError where it cannot be written."""
        try:
            check_name(name)
        except ValueError as error:
            raise UsageError(f"a caller cannot be called {name!r}: {error}") from None
        if not scopes - {Scope.ADMIN}:
            raise UsageError("a token needs a scope beside `admin`, which only widens the others to everybody's groups")
        if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
            raise UsageError(f"a description is one line of at most {LONGEST_DESCRIPTION} characters")
        secret = secrets.token_bytes(SECRET_BYTES)
        token = Token(
            id=secrets.token_hex(ID_BYTES),
            name=name,
            scopes=scopes,
            created=int(now),
            expires=None if lifetime is None else int(now + lifetime),
            sha256=hashlib.sha256(secret).hexdigest(),
            description=description,
        )
        try:
            privatefile.make_folder(self._folder)
            _look_at_folder(self._folder)
            path = self._path(token.id)
            privatefile.write(path, msgspec.json.format(msgspec.json.encode(token), indent=2) + b"\n")
            os.utime(path, (token.created, token.created))
        except OSError as error:
            raise StoreError(f"the token cannot be kept: {error.strerror}: {error.filename or self._folder}") from error
        return token, f"rt_{token.id}_{secret.hex()}"

    def revoke(self, id: str) -> None:
        """Take it back, from nodes that run as well. Raises UsageError where there is none, StoreError where it stays."""
        try:
            if not _ID.fullmatch(id):
                raise FileNotFoundError
            self._path(id).unlink()
            privatefile.sync_folder(self._folder)
        except FileNotFoundError:
            raise UsageError(
                f"there is no token with the id {id!r}; `runner token ls` shows those that there are"
            ) from None
        except OSError as error:
            raise StoreError(
                f"the token {id} cannot be revoked: {error.strerror}: {error.filename}; remove that file"
            ) from error

    def all(self) -> list[Use]:
        """The oldest first. Raises StoreError where one cannot be read."""
        try:
            ids = [name.removesuffix(".json") for name in os.listdir(self._folder) if name.endswith(".json")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"the tokens cannot be read: {error.strerror}: {self._folder}; make it readable for this user"
            ) from error
        uses = []
        for id in filter(_ID.fullmatch, ids):
            with suppress(FileNotFoundError):  # revoked meanwhile
                token, changed = self._load(id)
                uses.append(Use(token=token, last=changed if changed > token.created else None))
        return sorted(uses, key=lambda use: (use.token.created, use.token.id))

    def verify(self, text: str, now: float) -> Token:
        """The token with this text. Raises UnauthenticatedError, StoreError where its file is damaged."""
        found = _TOKEN.fullmatch(text)
        if found is None:
            raise UnauthenticatedError(
                "the token is malformed: expected `rt_`, an id, `_` and a secret, as `runner token create` has printed it"
            )
        digest = hashlib.sha256(bytes.fromhex(found[2])).digest()
        try:
            token, changed = self._load(found[1])
        except FileNotFoundError:
            hmac.compare_digest(digest, _NOBODY)
            raise UnauthenticatedError(UNKNOWN) from None
        if not hmac.compare_digest(digest, bytes.fromhex(token.sha256)):
            raise UnauthenticatedError(UNKNOWN)
        if token.is_over(now) and token.expires is not None:
            raise UnauthenticatedError(
                f"the token expired at {rfc3339(token.expires)}: `runner token create` makes a new one"
            )
        if changed <= token.created or now // _DAY_SECONDS != changed // _DAY_SECONDS:
            with suppress(OSError):  # a disk that cannot be written keeps nobody out
                os.utime(self._path(token.id), (now, now))
        return token

    def _load(self, id: str) -> tuple[Token, float]:
        """The token, and when its file was changed. Raises FileNotFoundError, StoreError."""
        path = self._path(id)
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            self._read.pop(id, None)
            raise
        except OSError as error:
            raise StoreError(
                f"the token file {path} cannot be read: {error.strerror}; make it readable for this user"
            ) from error
        version = (status.st_ino, status.st_ctime_ns)
        known = self._read.get(id)
        if known is not None and known[0] == version:
            return known[1], status.st_mtime
        token = _parse(path, status)
        self._read[id] = (version, token)
        return token, status.st_mtime

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.json"


def _parse(path: Path, status: os.stat_result) -> Token:
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE_BYTES:
        raise StoreError(f"{path} is no token file: remove it")
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise StoreError(f"others may write the token file {path}: remove it, and make a new token")
    try:
        token = msgspec.json.decode(path.read_bytes(), type=Token)
        if token.id != path.stem or len(bytes.fromhex(token.sha256)) != hashlib.sha256().digest_size:
            raise ValueError("it is not what was written")
        check_name(token.name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(
            f"the token file {path} cannot be read: {error.strerror}; make it readable for this user"
        ) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"the token file {path} is damaged: remove it, and make a new token ({error})") from error
    return token


def _look_at_folder(folder: Path) -> None:
    """Raises UsageError where others could put tokens of their own there."""
    status = folder.stat()
    if status.st_mode & 0o022 or (os.geteuid() != 0 and status.st_uid != os.geteuid()):
        raise UsageError(f"others may write to the folder {folder}: chmod 700 it, and remove what is not yours")
