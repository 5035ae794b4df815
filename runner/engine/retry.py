"""Whether and when an attempt is tried again. Pure and deterministic, so that a restart decides alike."""

from __future__ import annotations

import hashlib

from runner.model.dispatch import AttemptId
from runner.model.result import UNCERTAIN_REASONS, Outcome, Status
from runner.model.task import Retry

JITTER = 0.25


def wanted(retry: Retry, attempt: int, outcome: Outcome) -> bool:
    """Whether attempt number `attempt`, which ended with `outcome`, is followed by another."""
    if attempt >= retry.attempts or outcome.status not in (Status.FAILED, Status.ERRORED):
        return False
    if outcome.reason is not None and outcome.reason in retry.on:
        return True
    if outcome.reason in UNCERTAIN_REASONS:
        return False
    return outcome.status.value in retry.on or (outcome.exit_code is not None and str(outcome.exit_code) in retry.on)


def delay(retry: Retry, id: AttemptId) -> float:
    """Seconds from the end of attempt `id` to the next: exponential, capped, with a jitter that the id alone decides."""
    try:
        plain = min(retry.delay * retry.backoff ** (id.attempt - 1), retry.max_delay)
    except OverflowError:
        plain = retry.max_delay
    digest = hashlib.sha256(str(id).encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return plain * (1 - JITTER + 2 * JITTER * fraction)
