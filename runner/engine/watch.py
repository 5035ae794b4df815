"""Following a group as it goes, for whoever lives on an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from runner.engine.engine import Engine
from runner.model.event import Event, Kind

PAGE = 1000


async def watch(engine: Engine, id: str, after: int = 0) -> AsyncIterator[Sequence[Event]]:
    """The group's events with a number above `after`, in batches, until the group is finished. Each watcher reads from the
    store at its own pace; nothing is queued for it."""
    changed = asyncio.Event()
    unsubscribe = engine.subscribe(id, changed.set)
    try:
        over = engine.status(id).terminal
        while True:
            changed.clear()
            events = engine.events(id, after, PAGE)
            if events:
                after = events[-1].number
                yield events
                if any(event.kind is Kind.GROUP_FINISHED for event in events):
                    return
            elif over:
                return
            else:
                await changed.wait()
    finally:
        unsubscribe()
