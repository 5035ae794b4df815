"""Encryption of confidential values at rest: AES-256-GCM under one key of this state directory.

A sealed value is: version (1 byte), key id (8), nonce (12), ciphertext, tag (16). Nonces are random, so a key is good for
about 2³² values. The context of a value, e.g. `group 8c1f… input password`, is authenticated with it but not stored: a
sealed value that is moved to another place does not open there.

While a key takes the place of another one, the former lies beside it, and what was sealed with that still opens (`runner.rotation`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner.errors import SealError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
TAG_BYTES = 16
_HEADER_BYTES = 1 + KEY_ID_BYTES


class Sealer:
    """Seals and unseals under one key. May be used from several threads."""

    def __init__(self, key: bytes, origin: str = "here", former: bytes | None = None) -> None:
        """`key`: 32 random bytes. `origin` tells a person where it is, e.g. `in the file /var/lib/runner/key`. What was sealed with
        the key `former` opens too."""
        if len(key) != KEY_BYTES:
            raise SealError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._origin = origin
        self._key_id = hashlib.sha256(b"runner key id\0" + key).digest()[:KEY_ID_BYTES]
        self.former = None if former is None else Sealer(former)

    @classmethod
    def open_or_create(cls, key_file: str | os.PathLike[str]) -> Self:
        """With the key in `key_file`, which is made (0600, with its folder) when there is none.

        Of several processes that make it at once all get the same key. Raises SealError when the file is not a key, when
        others than its owner may read or write it, or when it can be neither read nor made.
        """
        path = Path(key_file)
        try:
            origin = f"in the file {path}"
            try:
                key = _read(path)
            except FileNotFoundError:
                _create(path)
                key = _read(path)
            try:
                return cls(key, origin, _read(former_key(path)))
            except FileNotFoundError:
                return cls(key, origin)
        except OSError as error:
            raise SealError(f"the key file {path} can be neither read nor made: {error.strerror or error}") from error
        except ValueError as error:
            raise SealError(f"{os.fspath(key_file)!r} is not a path: {error}") from error

    @classmethod
    def ephemeral(cls) -> Self:
        """With a key of its own that is gone with this object."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def key_id(self) -> str:
        """What tells this key from others, as hex; it says nothing about the key."""
        return self._key_id.hex()

    def seal(self, plain: bytes, context: str) -> bytes:
        """`plain`, encrypted for `context`; each call gives other bytes."""
        header = bytes([VERSION]) + self._key_id
        nonce = secrets.token_bytes(NONCE_BYTES)
        return header + nonce + self._cipher.encrypt(nonce, plain, header + context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """What was sealed for `context`. Raises SealError."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) < _HEADER_BYTES + NONCE_BYTES + TAG_BYTES:
            raise SealError(
                f"the sealed value of {context!r} is cut off: {len(sealed)} bytes; restore a backup of the state"
            )
        if sealed[0] != VERSION:
            raise SealError(
                f"the value of {context!r} is sealed in form {sealed[0]}; this runner knows form {VERSION}: use a newer one"
            )
        if self.is_former(sealed) and self.former is not None:
            return self.former.unseal(sealed, context)
        header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        if header[1:] != self._key_id:
            raise SealError(
                f"the value of {context!r} is sealed with the key {header[1:].hex()}, but the key {self._origin} is "
                f"{self.key_id}: put the key file back that belongs to this state"
            )
        try:
            return self._cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], header + context.encode())
        except InvalidTag as error:
            raise SealError(
                f"the sealed value of {context!r} was altered, or sealed for another place; restore a backup of the state"
            ) from error

    def is_former(self, sealed: bytes) -> bool:
        """Whether it was sealed with the former key."""
        return self.former is not None and sealed[1:_HEADER_BYTES] == bytes.fromhex(self.former.key_id)

    def mac_key(self, purpose: str) -> bytes:
        """A key for HMAC over what is stored to be compared, so that nobody who reads the store can try out values."""
        return hmac.digest(self._key, b"runner mac key\0" + purpose.encode(), "sha256")

    def __repr__(self) -> str:
        return f"Sealer(key_id={self.key_id!r})"

    @cached_property
    def _cipher(self) -> AESGCM:
        # The import takes longer than a short group of tasks, and most groups have no secrets.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)


def former_key(key_file: Path) -> Path:
    """Where the key is that `key_file` takes the place of, while something may still be sealed with it."""
    return key_file.with_name(f"{key_file.name}.former")


def read_key(path: Path) -> bytes:
    """The key in a file. Raises SealError."""
    try:
        return _read(path)
    except OSError as error:
        raise SealError(
            f"the key file {path} cannot be read: {error.strerror or error}; make it readable for this user"
        ) from error


def _read(path: Path) -> bytes:
    # Not blocking: opening a named pipe would wait for somebody to write.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SealError(f"the key file {path} is not a file: give another path")
        if status.st_mode & 0o077:
            raise SealError(
                f"others may use the key file {path} (mode {stat.S_IMODE(status.st_mode):04o}): "
                f"chmod 600 it, and if somebody may have read it, make a new key"
            )
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if status.st_size != KEY_BYTES or len(key) != KEY_BYTES:
        raise SealError(
            f"the key file {path} has {status.st_size} bytes, a key has {KEY_BYTES}: put the right file back; "
            "without it the confidential values that were sealed with it are lost"
        )
    return key


def _create(path: Path) -> None:
    """Put a new key at `path` unless somebody else is first. It is on disk, whole, before it has its name."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            draft = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError:  # not every file system has files without a name
            _create_by_name(path)
        else:
            # With a folder, for without one Python asks for the link itself to be linked.
            _write_key(draft, lambda: os.link(f"/proc/self/fd/{draft}", path, src_dir_fd=folder))
        os.fsync(folder)
    finally:
        os.close(folder)


def _create_by_name(path: Path) -> None:
    """As `_create`, but who is killed in the middle leaves a draft, which nobody uses."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_key(descriptor, lambda: os.link(draft, path))
    finally:
        draft.unlink()


def _write_key(descriptor: int, give_name: Callable[[], None]) -> None:
    """Takes over the descriptor."""
    with open(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(descriptor)
        with suppress(FileExistsError):
            give_name()
