"""What a runner knows of another one that it may forward to."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class PeerState(Struct, frozen=True, kw_only=True):
    """`name` is what it is called here, `own_name` what it calls itself, empty before it was reached. `there` tells whether a session
    with it is on, and `since` since when it is or is not, in seconds since the epoch; `trouble` why it is not. `running` attempts of this
    runner are there. `types` and `labels` are those that it has told last."""

    name: str
    own_name: str = ""
    there: bool
    since: float
    trouble: str = ""
    running: int = 0
    types: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
