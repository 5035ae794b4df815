"""Puts together what was asked for, and imports nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runner.config.service import Metrics, Tracing
from runner.errors import UsageError
from runner.telemetry.base import Telemetry

if TYPE_CHECKING:
    from runner.telemetry.calls import Watcher
    from runner.telemetry.prometheus import Prometheus
    from runner.telemetry.spans import Spans

_log = logging.getLogger(__name__)


def metrics() -> Prometheus:
    """Raises UsageError where the library for it is not there."""
    try:
        from runner.telemetry.prometheus import Prometheus
    except ImportError as error:
        raise UsageError(f"metrics.listen is set, which needs more: pip install 'runner[metrics]' ({error})") from error
    return Prometheus()


def spans(wanted: Tracing, node: str) -> Spans:
    """Raises UsageError where the library for it is not there, or a file that is named makes no sense."""
    try:
        from runner.telemetry.spans import Spans
    except ImportError as error:
        raise UsageError(
            f"tracing.endpoint is set, which needs more: pip install 'runner[tracing]' ({error})"
        ) from error
    return Spans(wanted, node)


@asynccontextmanager
async def exported(spans: Spans | None) -> AsyncIterator[None]:
    """Behind the end of this, what there is of them is on its way, or lost."""
    try:
        yield
    finally:
        if spans is not None:
            await asyncio.to_thread(spans.close)


def watcher(telemetry: Sequence[Telemetry]) -> Watcher:
    from runner.telemetry.calls import Watcher

    return Watcher(telemetry)


@asynccontextmanager
async def exposed(counted: Prometheus, wanted: Metrics) -> AsyncIterator[Sequence[str]]:
    """Show what is counted while this is entered; the addresses. Raises UsageError for one that it cannot have."""
    from runner.telemetry import exposition

    async with exposition.serving(wanted.listen, counted.text) as addresses:
        _log.info("metrics at %s", ", ".join(addresses), extra={"action": "metrics", "addresses": addresses})
        yield addresses
