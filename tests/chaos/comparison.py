"""What is shown beside what should be, byte by byte."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from runner.masking import SHORTEST_NEEDLE_BYTES
from tests.chaos.scene import ASKED, EXPORTED, MARK, SECRETS, hidden


def as_if_known(shown: bytes, asked: bool) -> bytes:
    """What a lost attempt shows, with those secrets masked that nobody could know of: it did not live to tell them, or told
    but the beginning of what it asked to mask."""
    for secret in (EXPORTED, *(() if asked else (ASKED,))):
        shown = shown.replace(secret.encode(), MARK)
    for told in range(SHORTEST_NEEDLE_BYTES, len(ASKED)):
        shown = shown.replace(MARK + ASKED[told:].encode(), MARK)
    return shown


def _beginnings(secret: str) -> set[bytes]:
    """What may be shown of a secret that is not whole: its lines are secrets themselves."""
    return {hidden(secret[:end].encode()) for end in range(1, len(secret))}


def _ends_in_the_beginning(shown: bytes, same: int) -> bool:
    """Whether what stands behind some place up to `same` may be all that there was of a secret: by chance it may begin like what is due."""
    return any(
        shown.endswith(begun) and len(shown) - len(begun) <= same for secret in SECRETS for begun in _beginnings(secret)
    )


def difference(shown: bytes, wanted: bytes, partly: bool) -> str | None:
    """`partly`: an end may be missing, and the beginning of a secret may stand there in place of a mark."""
    same = next((at for at, (one, other) in enumerate(zip(shown, wanted, strict=False)) if one != other), None)
    same = min(len(shown), len(wanted)) if same is None else same
    if len(shown) == len(wanted) == same:
        return None
    if partly and (same == len(shown) or _ends_in_the_beginning(shown, same)):
        return None
    return f"{len(shown)} bytes, {len(wanted)} were due; from {same} on: {shown[same : same + 60]!r}, due {wanted[same : same + 60]!r}"


def spellings(secret: bytes) -> Iterator[bytes]:
    """As it is, in hex, and in base64 wherever in a longer text it stands."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret)
        yield text[4 if shift else 0 : (len(secret) + shift) // 3 * 4]
