"""How large a document may be."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Every limit is named in the message of the fault that it causes.

    `alias_expansion` is how many times its own number of nodes a document may become by aliases; `nodes` counts mappings,
    lists, keys and scalars, those that aliases stand for included; `faults` is how many are reported at most.
    """

    document_bytes: int = 32 * 1024 * 1024
    tasks: int = 100_000
    nesting: int = 64
    alias_expansion: int = 10
    nodes: int = 5_000_000
    faults: int = 10_000
