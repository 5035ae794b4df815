"""One session with an origin: what it says is heard, and it is told what becomes of its guests.

Answers to what it has said are bounded by what it takes of them, and what is told of its guests is pulled when it takes it: so nothing
queues up for an origin that is slow.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from functools import partial

from runner.engine.guests import Origin
from runner.errors import GroupExistsError, LimitError, StoreError, UsageError
from runner.model import session
from runner.model.dispatch import AttemptId
from runner.model.result import Reason
from runner.model.session import FromExecutor, FromOrigin, Refused, Submit, SubmitGroup
from runner.rpc import guesttelling, peerwire
from runner.rpc.guesttelling import Telling, telling
from runner.rpc.premises import Premises
from runner.rpc.reception import Reception, RefusedError
from runner.rpc.traffic import Traffic
from runner.v1 import peer_pb2 as pb

LOAD_SECONDS = 1.0
"""How often at most an origin is told how much there is to do here."""
SEEN_SECONDS = 6 * 3600.0
"""How often it is noted down of what is followed that its origin is there."""
MOST_ANSWERS = 64
"""No more is heard of an origin that has taken so few of the answers it was given."""
MOST_UNSAFE_BYTES = 1 << 20
MOST_UNSAFE = 64
"""Of how many guests, and about how many bytes, what is to be told waits for the disk at once."""

_log = logging.getLogger(__name__)

_Batches = list[tuple[Telling, list[FromExecutor]]]


class GuestSession:
    def __init__(self, premises: Premises, traffic: Traffic, origin: Origin, reception: Reception) -> None:
        self._premises = premises
        self._engine = premises.engine
        self._traffic = traffic
        self._origin = origin
        self._reception = reception
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._answers: deque[FromExecutor] = deque()
        self._tellings: dict[str, Telling] = {}
        """By the id of the guest."""
        self._forget: dict[str, Callable[[], None]] = {}
        self._due: OrderedDict[str, None] = OrderedDict()
        """Of whom there may be something to tell."""
        self._held_up: set[str] = set()
        """Of whom something was taken that may not be told before it is safe on disk; their turn comes again behind that."""
        self._unsafe: _Batches = []
        self._unsafe_bytes = 0
        self._safe: deque[FromExecutor] = deque()
        self._syncing = False
        self._told_load = self._engine.load
        self._fault: Exception | None = None
        self._over = False
        self._seen_at = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None

    def end(self, error: Exception) -> None:
        """Nothing more is heard or told; its origin is told why."""
        self._over = True
        if self._fault is None:
            self._fault = error
        self._room.set()
        self._wake.set()

    async def run(self, live: Sequence[AttemptId], heard: AsyncIterator[pb.FromOrigin]) -> AsyncGenerator[FromExecutor]:
        """What the origin is told, behind the hello of both, until it has gone. Raises why the session has to end."""
        hearing = asyncio.create_task(self._hear(frozenset(live), heard))
        hearing.add_done_callback(lambda _: self._wake.set())
        with ExitStack() as stack:
            stack.callback(self._close)
            stack.callback(self._traffic.subscribe(self._wake.set))
            stack.callback(self._premises.logs.subscribe(self._grew))
            self._look()
            try:
                while True:
                    self._wake.clear()
                    while said := self._take():
                        for each in said:
                            yield each
                        self._check()
                    self._check()
                    if hearing.done():
                        hearing.result()
                        return
                    await self._wake.wait()
            finally:
                self._over = True
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault
        self._traffic.check_staying()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for forget in self._forget.values():
            forget()
        self._forget.clear()
        self._tellings.clear()

    # Telling.

    def _take(self) -> Sequence[FromExecutor]:
        """What comes next; empty where there is nothing now."""
        for ready in (self._answers, self._safe):
            if ready:
                taken = list(ready)
                ready.clear()
                self._room.set()
                return taken
        while self._due and len(self._unsafe) < MOST_UNSAFE and self._unsafe_bytes < MOST_UNSAFE_BYTES:
            id, _ = self._due.popitem(last=False)
            present = self._tellings[id]
            said = present.take()
            self._reception.pass_on(present.guest)
            if any(isinstance(each, session.Reported) for each in said):
                self._held_up.add(id)
                self._unsafe.append((present, said))
                self._unsafe_bytes += sum(map(guesttelling.weight, said))
                self._sync()
            elif said:
                self._due[id] = None  # there may be more, after all others
                return said
        return ()

    def _sync(self) -> None:
        """A report that an origin has heard must not be forgotten here: it would not hear what comes in its place."""
        if self._syncing or not self._unsafe:
            return
        self._syncing = True
        batches, self._unsafe, self._unsafe_bytes = self._unsafe, [], 0
        self._engine.when_durable(partial(self._synced, batches))

    def _synced(self, batches: _Batches, error: Exception | None) -> None:
        self._syncing = False
        if self._over:
            return
        if error is not None:
            self.end(error)
            return
        for told, said in batches:
            id = told.guest.group
            if self._tellings.get(id) is not told:
                continue  # its origin has asked for it again meanwhile, from a place of its own
            self._held_up.discard(id)
            self._safe.extend(said)
            if told.over:
                self._drop(id)
            else:
                self._due[id] = None
        self._sync()
        self._wake.set()

    def _touch(self, id: str) -> None:
        if id not in self._held_up:
            self._due[id] = None
            self._wake.set()

    def _grew(self, guest: AttemptId) -> None:
        followed = self._tellings.get(guest.group)
        if followed is not None:
            followed.grew(guest)
            self._touch(guest.group)

    def _tell(self, new: Telling) -> None:
        if self._over:
            return
        id = new.guest.group
        if id in self._tellings:
            self._drop(id)
        self._tellings[id] = new
        self._forget[id] = self._engine.subscribe(id, partial(self._touch, id))
        self._touch(id)

    def _drop(self, id: str) -> None:
        del self._tellings[id]
        self._due.pop(id, None)
        self._held_up.discard(id)
        self._forget.pop(id)()

    def _look(self) -> None:
        """At what nobody tells of by itself, again and again."""
        loop = asyncio.get_running_loop()
        load = self._engine.load
        if load != self._told_load and not any(isinstance(each, session.Loaded) for each in self._answers):
            self._told_load = load
            self._answer(session.Loaded(load=load))
        if loop.time() - self._seen_at > SEEN_SECONDS:
            self._seen_at = loop.time()
            self._note_down()
        self._timer = loop.call_later(LOAD_SECONDS, self._look)

    def _note_down(self) -> None:
        for group in {each.known_as.group for each in self._tellings.values()}:
            try:
                self._reception.workspace(group)
            except (StoreError, OSError) as error:  # it has been noted down before, and is the next time
                _log.warning("a workspace was not touched: %s", error, extra={"action": "workspace_not_touched"})

    # Hearing.

    async def _hear(self, live: frozenset[AttemptId], heard: AsyncIterator[pb.FromOrigin]) -> None:
        await self._end_all(lambda attempt: attempt not in live)
        async for message in heard:
            while len(self._answers) >= MOST_ANSWERS and not self._over:
                self._room.clear()
                await self._room.wait()
            if self._over:
                return
            await self._heard(peerwire.from_origin_from_proto(message))

    async def _heard(self, said: FromOrigin) -> None:
        match said:
            case Submit() | SubmitGroup():
                await self._submitted(said)
            case session.Cancel():
                guest = self._reception.cancel(said.id, said.grace)
                if guest is None:
                    self._refuse(said.id, Reason.REFUSED, "it is not known here")
                elif guest not in self._tellings:
                    self._tell_end(AttemptId(guest, said.id.task, 1), said.id)
            case session.Signal():
                self._reception.signal(said.id, said.signal)
            case session.Check():
                faults = await asyncio.to_thread(self._reception.check, said.tasks, said.on_behalf_of)
                self._answer(session.Checked(number=said.number, faults=tuple(faults)))
            case session.Release():
                ending = await self._end_all(lambda attempt: attempt.group == said.group)
                await self._reception.release(said.group, ending)
            case session.Acknowledge():
                pass  # what was told is kept for longer than that, so that one that is sent again late is known
            case session.OriginHello() | session.Begin():
                raise UsageError("there is one hello in a session, and one begin, at its beginning")

    async def _submitted(self, said: Submit | SubmitGroup) -> None:
        attempt = said.dispatch.id
        try:
            id = await self._reception.take_in(said)
        except RefusedError as error:
            self._refuse(attempt, error.reason, error.message)
        except (GroupExistsError, LimitError) as error:
            self._refuse(attempt, Reason.REFUSED, error.message)
        else:
            guest = AttemptId(id, attempt.task, 1)
            positions = {attempt: said.printed} if isinstance(said, Submit) else said.printed
            self._tell(
                telling(self._engine, self._premises.logs, guest, attempt, after=said.after, positions=positions)
            )

    def _refuse(self, attempt: AttemptId, reason: Reason, message: str) -> None:
        told = {"attempt": str(attempt), "origin": self._origin.name, "caller": self._origin.caller}
        _log.info("%s", message, extra={"action": "dispatch_refused", **told})
        self._answer(Refused(id=attempt, reason=reason, message=message))

    async def _end_all(self, fits: Callable[[AttemptId], bool]) -> Sequence[str]:
        """End those guests of the origin that run or wait here and fit, which are given; it is told what became of them."""
        ending: list[str] = []
        async for guest, attempt in self._reception.unfinished():
            if fits(attempt):
                ending.append(guest.group)
                self._engine.cancel_once(guest.group)
                if guest.group not in self._tellings:
                    self._tell_end(guest, attempt)
        return ending

    def _tell_end(self, guest: AttemptId, attempt: AttemptId) -> None:
        """Of one that its origin does not follow."""
        self._tell(telling(self._engine, self._premises.logs, guest, attempt, end_alone=True))

    def _answer(self, said: FromExecutor) -> None:
        self._answers.append(said)
        self._wake.set()
