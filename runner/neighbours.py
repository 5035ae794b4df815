"""The other runners of a node that serves, and the sessions with them: a part of the composition root (`runner.node`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec.structs import replace

from runner.client.link import Link
from runner.client.patience import Patience
from runner.clock import Clock
from runner.config.service import Service
from runner.dispatch.remote import RemoteDispatcher
from runner.errors import (
    ForbiddenError,
    GroupNotFoundError,
    LimitError,
    NoShellError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
    UsageError,
)
from runner.expressions import has_template
from runner.forwarding import Forwarding
from runner.logs.base import LogStore
from runner.model.endpoint import Endpoint, Unix
from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.model.peer import PeerState
from runner.model.shell import Shell, ShellCaller, ShellPlace, ShellRequest
from runner.peers import Own, Peers
from runner.rpc.policy import fits
from runner.v1 import runner_pb2 as pb

ANSWER_SECONDS = 2.0
"""How long a submission waits for what another runner says of its tasks."""
MOST_ADDRESSES = 1000
"""That documents have named, of runners that are no named peers; none is forgotten before the node ends."""

_REFUSALS = (ForbiddenError, GroupNotFoundError, NoShellError, LimitError, UnavailableError, UnauthenticatedError)
"""Of a shell: whoever asked is told that another runner said so."""

_log = logging.getLogger(__name__)


class Neighbours:
    """The other runners of a node, and the sessions with them, for as long as it runs. Implements `runner.rpc.others.Others`."""

    def __init__(self, forwarding: Forwarding, own: Own, name: str, clock: Clock, logs: LogStore) -> None:
        """`name` is what the node calls itself."""
        self._forwarding = forwarding
        self._service = forwarding.service
        self._name = name
        self._clock = clock
        self._logs = logs
        self._places: dict[str, Endpoint] = {}
        """Where each is, by what it is called."""
        self._sessions: dict[str, asyncio.Task[None]] = {}
        self._is_running = False
        self._group: asyncio.TaskGroup | None = None
        self.peers = Peers(own, map(self._make, self._named(self._service)), reach=self._reach)

    async def run(self) -> None:
        """The sessions, for ever."""
        async with asyncio.TaskGroup() as self._group:
            for peer in self.peers:
                self._connect(peer)
            await asyncio.Event().wait()

    def reload(self, service: Service) -> None:
        """Go on with the peers that there are now. One that is elsewhere now is the same peer; one that is gone has lost what it had."""
        old, new = self._named(self._service), self._named(service)
        self._service = service
        for name in old.keys() - new.keys():
            self._end_session(name)
            self.peers.remove(name, "it is no peer of this runner any more")
        for peer in self.peers:
            place = self._place(peer.name)
            if place is None:
                self._end_session(peer.name)
                self.peers.remove(peer.name, "documents may not name its address any more")
            elif place != self._places[peer.name]:
                self._end_session(peer.name)
                peer.disconnected("it was said to be elsewhere")
                self._places[peer.name] = place
                self._connect(peer)
        for name in new.keys() - old.keys():
            peer = self._make(name)
            self.peers.add(peer)
            self._connect(peer)

    def names(self) -> Collection[str]:
        return [self._name, *(peer.name for peer in self.peers)]

    def states(self) -> Sequence[PeerState]:
        return [peer.state for peer in self.peers]

    def may_be_named(self, name: str) -> bool:
        return name == self._name or self._place(name) is not None

    @asynccontextmanager
    async def shell(
        self, place: ShellPlace, public_id: str, request: ShellRequest, caller: ShellCaller
    ) -> AsyncIterator[Shell]:
        name = place.peer
        endpoint = self._place(name)
        if endpoint is None:
            raise NoShellError(f"it ran on {name!r}, which is no peer of this runner any more")
        from runner.client import shelling  # few ask for that

        start = shelling.start_of(public_id, replace(request, attempt=place.attempt))
        start.origin.CopyFrom(
            pb.ShellOrigin(
                node=caller.node,
                name=caller.name,
                on_behalf_of=caller.on_behalf_of,
                whole=place.whole,
                hops=caller.hops,
            )
        )
        async with AsyncExitStack() as stack:
            try:
                shell = await stack.enter_async_context(shelling.passed_on(name, endpoint, start, Patience().silence))
            except UnreachableError as error:
                raise NoShellError(f"it ran on {name!r}, and {error.message}: try again later") from error
            except _REFUSALS as error:
                raise NoShellError(f"it ran on {name!r}, which says: {error.message}") from error
            yield shell

    async def check(self, group: TaskGroup, on_behalf_of: str) -> Sequence[Fault]:
        wanted: dict[str, list[int]] = {}
        for index, task in enumerate(group.tasks):
            forward, template = (group.forward, True) if group.forward is not None else (task.forward, task.template)
            if forward is not None and forward.to is not None and not (template and has_template(forward.to)):
                wanted.setdefault(forward.to, []).append(index)
        there = {peer.name: peer for peer in self.peers if peer.is_there}
        asked = [
            self._ask(there[name], group, indices, on_behalf_of) for name, indices in wanted.items() if name in there
        ]
        return [fault for told in await asyncio.gather(*asked) for fault in told]

    @staticmethod
    async def _ask(
        peer: RemoteDispatcher, group: TaskGroup, indices: Sequence[int], on_behalf_of: str
    ) -> Sequence[Fault]:
        answer: asyncio.Future[Sequence[Fault] | None] = asyncio.get_running_loop().create_future()

        def answered(faults: Sequence[Fault] | None) -> None:
            if not answer.done():
                answer.set_result(faults)

        # Of a group that goes as a whole the tasks that go further are another runner's affair.
        tasks = [group.tasks[index] for index in indices]
        if group.forward is None:
            tasks = [replace(task, forward=None) for task in tasks]
        peer.check(tasks, on_behalf_of, answered)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                faults = await answer
        except TimeoutError:
            return ()  # it says so when it is handed the task
        return [
            replace(fault, path=(indices[int(fault.path[0])], *fault.path[1:]), message=f"{peer.name}: {fault.message}")
            for fault in faults or ()
            if int(fault.path[0]) < len(indices)
        ]

    @staticmethod
    def _named(service: Service) -> Mapping[str, Endpoint]:
        return {name: place for name, place in service.peers.items() if ":" not in name}

    def _place(self, name: str) -> Endpoint | None:
        """Where the runner of this name is, or the one at this address; None where there may be none."""
        if ":" not in name:
            place = self._service.peers.get(name)
        else:
            patterns = (pattern for pattern in self._service.peers if ":" in pattern and fits((pattern,), name))
            pattern = next(patterns, None)
            place = None if pattern is None else replace(self._service.peers[pattern], target=name)
        if place is None:
            return None
        try:
            return self._known_by_certificate(place.checked())
        except UsageError:
            return None  # an address that is none

    def _known_by_certificate(self, place: Endpoint) -> Endpoint:
        """Where nothing else is said, peers know this runner by the certificate that it shows to its callers."""
        tls = self._service.tls
        if tls is None or not place.is_encrypted or place.certificate or place.token_file:
            return place
        return replace(place, certificate=str(tls.certificate), key=str(tls.key))

    def _reach(self, address: str) -> RemoteDispatcher | None:
        place = self._place(address)
        if place is None or isinstance(place.address, Unix):
            return None
        if len(self._places) >= MOST_ADDRESSES + len(self._service.peers):
            _log.error("too many addresses were forwarded to", extra={"action": "address_refused", "peer": address})
            return None
        peer = self._make(address)
        asyncio.get_running_loop().call_soon(self._connect, peer)
        return peer

    def _make(self, name: str) -> RemoteDispatcher:
        place = self._place(name)
        assert place is not None, "it was looked for before"
        self._places[name] = place
        return RemoteDispatcher(
            name,
            node=self._forwarding.node,
            own_name=self._name,
            clock=self._clock,
            logs=self._logs,
            lost_after=self._service.lost_after,
        )

    def _connect(self, peer: RemoteDispatcher) -> None:
        if self._group is not None and peer.name not in self._sessions:  # else `run` does
            self._sessions[peer.name] = self._group.create_task(Link(self._places[peer.name], peer).run())

    def _end_session(self, name: str) -> None:
        if name in self._sessions:
            self._sessions.pop(name).cancel()
