"""Where a list goes on, as its caller is told: a token that is good for the same caller and the same question, and says nothing to
him. Numbers of rows would tell how many groups others have."""

from __future__ import annotations

import base64
import binascii
import hashlib

from google.protobuf.message import Message

from runner.errors import SealError, UsageError
from runner.sealing import Sealer

LONGEST_TOKEN = 200


class Pages:
    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def token(self, place: int | None, caller: str, question: Message) -> str:
        """Empty for None, which is the end. `question` is what was asked for; what it says of pages does not matter."""
        if place is None:
            return ""
        # All of a length, so that not even that tells of the number.
        sealed = self._sealer.seal(place.to_bytes(8), _context(caller, question))
        return base64.urlsafe_b64encode(sealed).decode()

    def place(self, token: str, caller: str, question: Message) -> int | None:
        """None for no token. Raises UsageError for one that was not given for this question to this caller."""
        if not token:
            return None
        try:
            if len(token) > LONGEST_TOKEN:
                raise ValueError
            sealed = base64.b64decode(token, altchars=b"-_", validate=True)
            return int.from_bytes(self._sealer.unseal(sealed, _context(caller, question)))
        except (ValueError, binascii.Error, SealError):
            raise UsageError(
                f"the page token {token[:40]!r} was not given by this runner for what is asked for: begin without one"
            ) from None


def _context(caller: str, question: Message) -> str:
    """What a token is sealed for."""
    asked = type(question)()
    asked.CopyFrom(question)
    asked.ClearField("page_token")
    asked.ClearField("page_size")
    digest = hashlib.sha256(asked.SerializeToString(deterministic=True)).hexdigest()
    return f"page of {asked.DESCRIPTOR.full_name} {digest} for {caller}"
