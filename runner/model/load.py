"""How much a runner has to do."""

from __future__ import annotations

from msgspec import Struct


class Load(Struct, frozen=True, kw_only=True):
    """How many attempts may hold a slot, how many do, and how many tasks wait for one."""

    slots: int
    taken: int
    waiting: int
