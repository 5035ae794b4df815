"""Brings what has to be told to who is to be told.

That a group's end has to be told is recorded with that end, in one transaction (`Batch.notices`), and forgotten when somebody has
said that he has heard it. So every end is told at least once, whoever is killed when; a message that comes twice has the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from runner import __version__
from runner.clock import Clock
from runner.config.service import Webhook
from runner.engine.engine import Engine
from runner.errors import GroupNotFoundError, RunnerError
from runner.store.base import Archive, Notice
from runner.webhook import message, signing
from runner.webhook.posting import Poster, PostError

LOOK_SECONDS = 60.0
"""After so long it looks again, whatever it knows."""
CONTEXT_SECONDS = 300.0
"""After so long certificates of issuers are read anew."""
JITTER = 0.2

_log = logging.getLogger(__name__)


class Pace(Struct, frozen=True, kw_only=True):
    """How often, and how long. The delays between tries double from `first` to `longest` seconds: with `tries` of them that is
    a day. `patience` is for one try, in seconds; `at_once` messages are under way."""

    first: float = 5.0
    longest: float = 3600.0
    tries: int = 33
    patience: float = 15.0
    at_once: int = 4

    def delay(self, tries: int, chance: float) -> float:
        """How long to wait after so many tries, in seconds; `chance` is from 0 to 1."""
        doubled: float = self.first * 2.0 ** min(tries - 1, 30)
        return min(doubled, self.longest) * (1 - JITTER + 2 * JITTER * chance)


class Herald:
    """`wanted` and `wake` may be used before it runs."""

    def __init__(self, webhook: Callable[[], Webhook], pace: Pace = Pace()) -> None:  # noqa: B008 - it is frozen
        """`webhook` is asked each time, and may say something else by then. Raises UsageError for a secret that is none."""
        self._webhook = webhook
        self._pace = pace
        self._news = asyncio.Event()
        self._under_way: set[str] = set()
        self._resting: dict[str, float] = {}
        """Of what could not be written down: when it is looked at again, in seconds of the loop."""
        self._context: tuple[float, Webhook, ssl.SSLContext] | None = None
        if (first := webhook()).secret is not None:
            signing.read_secrets(first.secret)

    def wanted(self) -> bool:
        """Whether somebody is to be told of groups that end now."""
        return self._webhook().url is not None

    def wake(self) -> None:
        """There is something new to tell."""
        self._news.set()

    async def run(self, engine: Engine, store: Archive, clock: Clock, *, node: str, node_id: str) -> None:
        """For ever."""
        poster = Poster()
        try:
            async with asyncio.TaskGroup() as deliveries:
                while True:
                    self._news.clear()
                    looked = clock.now().wall
                    try:
                        for notice in self._due(store, looked):
                            self._under_way.add(notice.group)
                            telling = _Telling(engine, store, clock, poster, node, node_id)
                            deliveries.create_task(self._deliver(notice, telling))
                    except RunnerError as error:
                        _log.warning(
                            "what has to be told cannot be read: %s", error, extra={"action": "webhook_failed"}
                        )
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._pause(store, clock, looked)):
                            await self._news.wait()
        finally:
            poster.close()

    def _due(self, store: Archive, now: float) -> Sequence[Notice]:
        """What to tell now, as much as may be under way at once. Raises StoreError."""
        if not self.wanted():
            for notice in store.notices(float("inf")):
                store.settle(notice.group)
            return []
        at = asyncio.get_running_loop().time()
        self._resting = {group: until for group, until in self._resting.items() if until > at}
        known = len(self._under_way) + len(self._resting)
        found = [
            notice
            for notice in store.notices(float("inf"), self._pace.at_once + known)
            # A clock that was set back does not make anybody wait.
            if (notice.due <= now or notice.due > now + 2 * self._pace.longest)
            and notice.group not in self._under_way
            and notice.group not in self._resting
        ]
        return found[: max(0, self._pace.at_once - len(self._under_way))]

    def _pause(self, store: Archive, clock: Clock, looked: float) -> float:
        """Until something is due that was not when it looked last."""
        if len(self._under_way) >= self._pace.at_once:
            return LOOK_SECONDS  # it wakes when one of them is over
        try:
            due = [notice.due for notice in store.notices(float("inf"), 1 + len(self._under_way) + len(self._resting))]
        except RunnerError:
            return LOOK_SECONDS
        now = clock.now().wall
        return min(LOOK_SECONDS, min((max(0.0, at - now) for at in due if at > looked), default=LOOK_SECONDS))

    async def _deliver(self, notice: Notice, telling: _Telling) -> None:
        """Tell it once, and keep what came of it. Raises nothing."""
        group = notice.group
        try:
            webhook = self._webhook()
            problem = await self._told(notice, webhook, telling)
            if problem is None:
                telling.store.settle(group)
                _log.debug("told of a group", extra={"action": "webhook_told", "group": group})
            else:
                self._postpone(notice, problem, telling)
        except GroupNotFoundError:
            pass  # and with it its notice
        except Exception as error:  # noqa: BLE001 (one that cannot be told must not keep the others from it)
            self._resting[group] = asyncio.get_running_loop().time() + LOOK_SECONDS
            expected = isinstance(error, RunnerError | OSError)
            _log.warning(
                "a group could not be told of: %s",
                error if expected else type(error).__name__,
                exc_info=None if expected else error,
                extra={"action": "webhook_failed", "group": group},
            )
        finally:
            self._under_way.discard(group)
            self._news.set()

    def _postpone(self, notice: Notice, problem: str, telling: _Telling) -> None:
        tries = notice.tries + 1
        extra = {"action": "webhook_refused", "group": notice.group, "tries": tries}
        if tries >= self._pace.tries:
            telling.store.settle(notice.group)
            _log.error(
                "a group was not told of, and will not be: %s", problem, extra={**extra, "action": "webhook_lost"}
            )
            return
        seconds = self._pace.delay(tries, random.random())
        telling.store.postpone(replace(notice, tries=tries, due=telling.clock.now().wall + seconds))
        _log.warning("a group was not told of, next in %d s: %s", seconds, problem, extra=extra)

    async def _told(self, notice: Notice, webhook: Webhook, telling: _Telling) -> str | None:
        """What went wrong, if something did."""
        if webhook.url is None or webhook.secret is None:
            return "it is not known whom to tell any more"
        body = telling.body(notice)
        secrets = signing.read_secrets(webhook.secret)
        headers = signing.headers(secrets, notice.message_id, int(telling.clock.now().wall), body)
        headers |= {"content-type": "application/json", "user-agent": f"runner/{__version__}"}
        try:
            tls = await self._tls(webhook) if webhook.url.startswith("https:") else None
            async with asyncio.timeout(self._pace.patience):
                status = await telling.poster.post(webhook.url, headers, body, tls)
        except TimeoutError:
            return f"no answer within {self._pace.patience:g} seconds"
        except PostError as error:
            return str(error)
        return None if 200 <= status < 300 else f"the answer was {status}"

    async def _tls(self, webhook: Webhook) -> ssl.SSLContext:
        now = asyncio.get_running_loop().time()
        if self._context is None or self._context[0] < now or self._context[1] != webhook:
            try:
                context = await asyncio.to_thread(ssl.create_default_context, cafile=webhook.ca)
            except OSError as error:
                raise PostError(
                    f"the certificates in {webhook.ca} cannot be read: {error.strerror or error}"
                ) from error
            self._context = (now + CONTEXT_SECONDS, webhook, context)
        return self._context[2]


class _Telling:
    """What a delivery works with."""

    def __init__(self, engine: Engine, store: Archive, clock: Clock, poster: Poster, node: str, node_id: str) -> None:
        self.store = store
        self.clock = clock
        self.poster = poster
        self._engine = engine
        self._node = node
        self._node_id = node_id

    def body(self, notice: Notice) -> bytes:
        """Raises GroupNotFoundError."""
        library = self._engine.library
        return message.body(library.head(notice.group), library, node=self._node, node_id=self._node_id)
