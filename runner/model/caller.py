"""How those are called who ask a node for something."""

from __future__ import annotations

import re

LOCAL = "local"
"""Whoever asks on the node's own socket."""

NODE_PREFIX = "node/"
"""What the name of another node begins with, so that it is never that of a person."""

LONGEST_NAME = 64
"""What the common name of a certificate may have."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def check_name(name: str) -> str:
    """`name`, if a client or node can be called so. Raises ValueError with a message that reads well behind the name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"expected letters, digits, '.', '_', '-' and '@', at most {LONGEST_NAME}, beginning with a letter or digit"
        )
    if name == LOCAL:
        raise ValueError(f"{LOCAL!r} is whoever asks on the node's own socket, and nobody else")
    return name
