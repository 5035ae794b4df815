"""Which groups somebody wants to see."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runner.model.result import Status


class GroupFilter(Struct, frozen=True, kw_only=True):
    """All that is given has to fit. `labels` with an empty value ask for the label with any value. `accepted_from` and
    `accepted_before` are in seconds since the epoch. `caller` is who submitted them; of some use to an administrator alone."""

    statuses: frozenset[Status] = frozenset()
    labels: Mapping[str, str] = {}
    accepted_from: float | None = None
    accepted_before: float | None = None
    caller: str = ""
