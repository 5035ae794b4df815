"""What goes wrong around one attempt and is no end of it: told in the runner's own log."""

from __future__ import annotations

import logging
import traceback

from runner.dispatch.secrets import Secrets
from runner.model.dispatch import Dispatch

_log = logging.getLogger(__name__)


class Complaints:
    """Of one attempt, masked with what is confidential in it."""

    def __init__(self, dispatch: Dispatch, secrets: Secrets) -> None:
        self._dispatch = dispatch
        self._secrets = secrets

    def tell(self, verb: str, error: Exception) -> None:
        """What its driver, or its log, raised when it was asked to do this."""
        id = self._dispatch.id
        details = self._secrets.mask("".join(traceback.format_exception(error)))
        extra = {"action": f"driver_{verb}", "group_id": id.group, "task": id.task, "attempt": id.attempt}
        _log.error("driver of %s: %s: %s", self._dispatch.task.type, verb, details, extra=extra)
