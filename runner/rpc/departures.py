"""Workspaces of groups that are over at their origins while something of them still ends here: its clean-up, say, which works there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial

from runner.errors import GroupNotFoundError
from runner.rpc.premises import Premises

_log = logging.getLogger(__name__)


class Departures:
    """Of one node, whatever becomes of sessions meanwhile."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._ending: dict[tuple[str, str], dict[str, Callable[[], None]]] = {}
        """By whose group it is and what it is called: the guests that are not over, and what ends listening to them."""

    async def release(self, whose: str, group: str, ending: Collection[str]) -> None:
        """Remove the workspace, as soon as the guests `ending` are over."""
        self.stay(whose, group)
        loop = asyncio.get_running_loop()
        left = {guest for guest in ending if not is_over(self._premises, guest)}
        if not left:
            await asyncio.to_thread(self._released, whose, group)
            return
        self._ending[whose, group] = {
            guest: self._premises.engine.subscribe(guest, partial(self._look, loop, whose, group, guest))
            for guest in left
        }

    def _released(self, whose: str, group: str) -> None:
        self._premises.workspaces.release(whose, group, self._premises.workspaces_seconds())

    def stay(self, whose: str, group: str) -> None:
        """There is something new of the group."""
        for forget in self._ending.pop((whose, group), {}).values():
            forget()

    def _look(self, loop: asyncio.AbstractEventLoop, whose: str, group: str, guest: str) -> None:
        ending = self._ending.get((whose, group), {})
        if guest not in ending or not is_over(self._premises, guest):
            return
        ending.pop(guest)()
        if not ending:
            del self._ending[whose, group]
            removal = loop.run_in_executor(None, self._released, whose, group)
            removal.add_done_callback(_removed)


def is_over(premises: Premises, guest: str) -> bool:
    try:
        return premises.engine.status(guest).terminal
    except GroupNotFoundError:
        return True


def _removed(removal: asyncio.Future[None]) -> None:
    if not removal.cancelled() and (error := removal.exception()) is not None:  # it goes in a week
        _log.warning("a workspace was not removed: %s", error, extra={"action": "workspace_not_removed"})
