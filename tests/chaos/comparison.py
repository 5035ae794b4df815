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


def _begins(secret: str, rest: bytes, before: bytes) -> bool:
    """Whether `rest`, behind `before`, may be the beginning of a secret; a mark may have swallowed some of it, for secrets overlap."""
    beginnings = _beginnings(secret)
    return rest in beginnings or (before.endswith(MARK) and any(each.endswith(rest) for each in beginnings))


def difference(shown: bytes, wanted: bytes, partly: bool) -> str | None:
    """`partly`: an end may be missing, and the beginning of a secret may stand there in place of a mark."""
    same = next((at for at, (one, other) in enumerate(zip(shown, wanted, strict=False)) if one != other), None)
    same = min(len(shown), len(wanted)) if same is None else same
    if len(shown) == len(wanted) == same:
        return None
    rest = shown[same:]
    if partly and (not rest or any(_begins(secret, rest, shown[:same]) for secret in SECRETS)):
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
