"""An executor that somebody has a session with, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.peers import Talk, talking
from tests.rpc import Desk, desk


@asynccontextmanager
async def met(state: Path, **more: Any) -> AsyncIterator[tuple[Desk, Talk, str]]:
    """An executor, a session with it, and its instance."""
    async with desk(state, **more) as at, talking(at.channel) as talk:
        yield at, talk, (await talk.hello()).instance
