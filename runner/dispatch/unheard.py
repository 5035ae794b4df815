"""Of what a peer has still to say how it has ended: attempts that this runner has gone on without."""

from __future__ import annotations

from collections.abc import Callable

from runner.dispatch.handed import Handed
from runner.model.dispatch import AttemptId
from runner.model.session import Cancel

GRACE_SECONDS = 10.0
"""That one has to end which was not cancelled."""


class Unheard:
    """It is asked for with each session, for it may have ended while there was none; who is told to end what is over says how that was."""

    def __init__(self) -> None:
        self._graces: dict[AttemptId, float] = {}

    def __contains__(self, id: AttemptId) -> bool:
        return id in self._graces

    def add(self, handed: Handed) -> None:
        """Unless the peer has never heard of it."""
        if handed.may_be_known:
            self._graces[handed.id] = GRACE_SECONDS if handed.cancel_grace is None else handed.cancel_grace

    def cancel(self, id: AttemptId, grace: float) -> None:
        self._graces[id] = min(grace, self._graces[id])

    def ask(self, send: Callable[[Cancel], None]) -> None:
        for id, grace in self._graces.items():
            send(Cancel(id=id, grace=grace))

    def remove(self, id: AttemptId) -> None:
        """It is known, if it was not."""
        self._graces.pop(id, None)
