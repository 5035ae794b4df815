"""How a message is signed, as https://www.standardwebhooks.com has it: HMAC-SHA256 over its id, its time and its body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from pathlib import Path

from runner.errors import UsageError

PREFIX = "whsec_"
LEAST_BYTES = 24
LARGEST_FILE_BYTES = 4096


def read_secrets(path: Path) -> Sequence[bytes]:
    """What stands in the file: a secret a line, so that a new one can be put beside an old one before receivers know it. Raises
    UsageError, which quotes nothing of it."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"the secret of the webhook cannot be read from {path}: {error.strerror}; make it readable for the node's user"
        ) from error
    secrets = [_decoded(line) for line in data.split()]
    if not secrets or None in secrets or len(data) > LARGEST_FILE_BYTES:
        raise UsageError(
            f"{path} holds no secret for a webhook: expected {PREFIX} and at least {LEAST_BYTES} bytes in base64, "
            f'as `echo "{PREFIX}$(openssl rand -base64 32)"` makes it'
        )
    return [secret for secret in secrets if secret is not None]


def _decoded(line: bytes) -> bytes | None:
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX.encode()), validate=True)
    except binascii.Error:
        return None
    return secret if len(secret) >= LEAST_BYTES else None


def headers(secrets: Sequence[bytes], id: str, at: int, body: bytes) -> dict[str, str]:
    """`at` is now, in seconds since the epoch: receivers refuse what is old, so that nobody sends it again."""
    signed = f"{id}.{at}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
