"""What somebody who watches a group is given, in order."""

from __future__ import annotations

from msgspec import Struct

from runner.model.event import Event
from runner.model.log import Frame


class LogChunk(Struct, frozen=True, kw_only=True):
    """A piece of what an attempt has printed."""

    task: str
    attempt: int
    frame: Frame


Happening = Event | LogChunk
"""An attempt's output comes behind the event that tells of its start, and before the one that tells of its end."""
