"""The methods of `runner.v1.PeerService`: what other runners, as origins, have carried out here.

What an origin sends is a *guest* (`engine.guests`), which belongs to the engine from then on: sessions come and go, and nothing of a
guest is kept in them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import grpc

from runner.config.service import Scope, Service
from runner.engine.guests import Origin
from runner.errors import (
    ForbiddenError,
    GroupNotFoundError,
    NoShellError,
    ProtocolError,
    RunnerError,
    SupersededError,
    UnavailableError,
    UsageError,
)
from runner.model import session
from runner.model.dispatch import WHOLE, AttemptId
from runner.rpc import guard, peerwire
from runner.rpc.departures import Departures, is_over
from runner.rpc.guestsession import GuestSession
from runner.rpc.identity import Caller, Identity
from runner.rpc.policy import Policy, on_behalf_of
from runner.rpc.premises import Premises
from runner.rpc.reception import Early, Reception
from runner.rpc.shelling import Asked, Shelling
from runner.rpc.traffic import Traffic
from runner.v1 import peer_pb2 as pb
from runner.v1 import peer_pb2_grpc
from runner.v1 import runner_pb2 as pb_runner

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic in its stubs alone

HELLO_SECONDS = 10.0
"""How long an origin may take to say who it is."""
RECONNECT_SECONDS = 0.1

SUPERSEDED = (
    "a newer session of the same runner has taken the place of this one; if they go on to take turns, two runners work on copies of "
    "one state directory: `runner restore` makes a copy that is a runner of its own"
)

_log = logging.getLogger(__name__)


class PeerServicer(peer_pb2_grpc.PeerServiceServicer):
    def __init__(
        self,
        premises: Premises,
        service: Service,
        traffic: Traffic,
        policy: Callable[[], Policy],
        shelling: Shelling | None = None,
    ) -> None:
        """`policy` gives the present one. With `shelling` there may be shells."""
        self._premises = premises
        self._shelling = shelling
        self._service = service
        self._traffic = traffic
        self._policy = policy
        self._sessions: dict[tuple[str, str], GuestSession] = {}
        """By caller and node: who somebody is was proved, which node he has was said."""
        self._greeted: dict[tuple[str, str], list[GuestSession]] = {}
        """Those that have not begun yet, in the order in which they were answered."""
        self._early = Early()
        self._departures = Departures(premises)

    def reload(self, service: Service) -> None:
        """What was said of this runner in a hello is said again where it is not so any more."""
        if (service.name, service.labels) != (self._service.name, self._service.labels):
            for each in (*self._sessions.values(), *chain.from_iterable(self._greeted.values())):
                each.end(UnavailableError("what this runner says of itself has changed", retry_after=RECONNECT_SECONDS))
        self._service = service

    async def Session(
        self, request_iterator: AsyncIterator[pb.FromOrigin], context: Context
    ) -> AsyncIterator[pb.FromExecutor]:
        del context
        async with aclosing(self.converse(guard.caller(), aiter(request_iterator))) as told:
            async for said in told:
                yield said

    async def Shell(
        self, request_iterator: AsyncIterator[pb_runner.ShellRequest], context: Context
    ) -> AsyncIterator[pb_runner.ShellResponse]:
        caller = guard.caller()
        if self._shelling is None:
            raise NoShellError("this runner has no shells")
        async with aclosing(self._shelling.serve(request_iterator, context, partial(self._asked, caller))) as answers:
            async for answer in answers:
                yield answer

    def _asked(self, caller: Caller, start: pb_runner.ShellStart) -> Asked:
        """The guest that an origin asks for. Raises GroupNotFoundError, ForbiddenError, UsageError."""
        if not start.HasField("origin") or not start.attempt:
            raise UsageError("an origin says who it is, and which attempt it means")
        asks = start.origin.on_behalf_of
        allowed = on_behalf_of(caller, asks)
        shells = [rule for rule in allowed.rules if Scope.SHELL in rule.scopes]
        if not shells:
            raise ForbiddenError(
                f"no rule of this runner gives {caller.name!r} the scope `shell`, beside `dispatch`, on behalf of {asks[:200]!r}"
            )
        origin = Origin(caller=caller.name, node=start.origin.node, name=start.origin.name)
        whole = start.origin.whole
        forwarded = AttemptId(start.id, WHOLE if whole else start.task, 1 if whole else start.attempt)
        id = origin.id(forwarded)
        try:
            self._premises.engine.library.head(id)
        except GroupNotFoundError:  # whose id is no word of whoever asks
            raise GroupNotFoundError(
                f"nothing is known here of what was sent for the task {start.task[:200]!r}: it has been removed, or never came"
            ) from None
        return Asked(
            group=id,
            known_as=id,
            attempt=start.attempt if whole else 1,
            caller=allowed,
            may_reveal=caller.may(Scope.REVEAL) and any(Scope.REVEAL in rule.scopes for rule in shells),
            on_behalf_of=asks,
            hops=tuple(start.origin.hops),
        )

    async def converse(self, caller: Caller, heard: AsyncIterator[pb.FromOrigin]) -> AsyncGenerator[pb.FromExecutor]:
        """One session with a caller who has been admitted, whatever brings it here. Raises why it has to end."""
        with self._traffic.stream(caller.name):
            hello = await _hello(heard)
            if hello is None:
                return
            origin = Origin(caller=caller.name, node=hello.node, name=hello.name)
            present_caller = partial(self._present, caller)
            reception = Reception(self._premises, self._traffic, origin, present_caller, self._early, self._departures)
            present = GuestSession(self._premises, self._traffic, origin, reception)
            key = (origin.caller, origin.node)
            greeted = self._greeted.setdefault(key, [])
            greeted.append(present)
            try:
                yield peerwire.from_executor_to_proto(await self._answer(reception.whose))
                begin = await _begin(heard)
                if begin is None:
                    return
                if present not in greeted:
                    raise SupersededError(SUPERSEDED)  # one that came later has begun meanwhile
                del greeted[: greeted.index(present)]
            finally:
                if present in greeted:
                    greeted.remove(present)
                if not greeted:
                    self._greeted.pop(key, None)
            if (former := self._sessions.get(key)) is not None:
                former.end(SupersededError(SUPERSEDED))
            self._sessions[key] = present
            told = {"origin": origin.name, "node": origin.node, "caller": origin.caller}
            _log.info("an origin has come", extra={"action": "origin_came", **told})
            try:
                async with aclosing(present.run(begin.live, heard)) as telling:
                    async for said in telling:
                        yield peerwire.from_executor_to_proto(said)
            finally:
                if self._sessions.get(key) is present:
                    del self._sessions[key]
                self._early.keep_only(lambda guest: not is_over(self._premises, guest))
                _log.info("an origin has gone", extra={"action": "origin_went", **told})

    def _present(self, caller: Caller) -> Caller:
        """With what he may do now: the rules may have changed since he called."""
        return self._policy().admit(Identity(name=caller.name, kind=caller.kind, most=caller.scopes))

    async def _answer(self, whose: str) -> session.ExecutorHello:
        registry = self._premises.registry
        conditions = await registry.conditions()
        unusable = {one.driver.type: one.health.description for one in conditions if not one.health.healthy}
        unusable.update({one.type: str(one) for one in registry.load() if one.type not in registry.types})
        kept = await asyncio.to_thread(self._premises.workspaces.kept, whose, session.MOST_KEPT)
        return session.ExecutorHello(
            node=self._premises.node_id,
            name=self._service.name,
            instance=self._premises.instance,
            types=frozenset(one.driver.type for one in conditions if one.health.healthy),
            unusable=unusable,
            labels=self._service.labels,
            load=self._premises.engine.load,
            kept=tuple(kept),
        )


async def _hello(heard: AsyncIterator[pb.FromOrigin]) -> session.OriginHello | None:
    """None where nothing is said. Raises UsageError, ProtocolError."""
    message = await _said(heard, UsageError(f"no hello has come within {HELLO_SECONDS:g} seconds"))
    if message is None:
        return None
    if message.WhichOneof("message") == "hello" and message.hello.version != session.VERSION:
        raise ProtocolError(
            f"this runner speaks version {session.VERSION} of the protocol between runners, "
            f"and {message.hello.name[:200]!r} version {message.hello.version}: update the older one"
        )
    said = peerwire.from_origin_from_proto(message)
    if not isinstance(said, session.OriginHello):
        raise UsageError("a session begins with a hello")
    return said


async def _begin(heard: AsyncIterator[pb.FromOrigin]) -> session.Begin | None:
    """None where nothing is said. Raises UsageError, and UnavailableError where it does not come: the line may be slow."""
    message = await _said(heard, UnavailableError("the session was not begun in time", retry_after=RECONNECT_SECONDS))
    said = None if message is None else peerwire.from_origin_from_proto(message)
    if not isinstance(said, session.Begin | None):
        raise UsageError("behind the hello of both an origin says that it begins")
    return said


async def _said(heard: AsyncIterator[pb.FromOrigin], late: RunnerError) -> pb.FromOrigin | None:
    """Raises `late` where nothing comes in time."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            return await anext(heard, None)
    except TimeoutError:
        raise late from None
