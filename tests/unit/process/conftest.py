from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.process.host import SupervisorHost


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A state directory; its supervisor and what that has started are ended afterwards."""
    yield tmp_path / "state"

    async def end() -> None:
        host = await SupervisorHost.connect(tmp_path / "state", idle_seconds=0.0)
        os.kill(host.pid, signal.SIGTERM)
        await host.aclose()

    asyncio.run(end())
