"""A server behind the real guard: methods of the real names that only tell who has asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from runner.config.service import DEFAULT_RULES, Rule
from runner.rpc import guard, status
from runner.rpc.credentials import Credentials
from runner.rpc.guard import Guard
from runner.rpc.identity import Identifier
from runner.rpc.policy import Policy
from runner.rpc.revocation import Revocations
from runner.simulator.clock import VirtualClock
from runner.tokens import Tokens
from runner.v1 import peer_pb2, peer_pb2_grpc, runner_pb2_grpc
from runner.v1 import runner_pb2 as pb

SERVICE = "runner.v1.RunnerService"
FILES = (pb.DESCRIPTOR, peer_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def methods() -> dict[str, Any]:
    """All that the generated code has, by the paths of their calls."""
    return {
        f"/{service.full_name}/{method.name}": method
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }


class Servicer:
    """Answers with nothing but who has asked. `more` lets a watch go on; `ended` tells that a call is over."""

    def __init__(self) -> None:
        self.more: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.waiting = asyncio.Event()
        self.ended = asyncio.Event()
        self.called = 0
        self.rules: list[tuple[str, ...]] = []
        """The task types that the rules gave whoever asked last, of each rule that fits."""

    def __getattr__(self, name: str) -> Any:
        """A method that has nothing to say."""
        answer = getattr(pb, f"{name}Response")

        async def unary(request: Any, context: Any) -> Any:
            self.called += 1
            return answer()

        async def streaming(request: Any, context: Any) -> Any:
            self.called += 1
            yield answer()

        return streaming if name == "ReadLog" else unary

    async def Session(self, requests: Any, context: Any) -> AsyncIterator[peer_pb2.FromExecutor]:
        self.called += 1
        yield peer_pb2.FromExecutor()

    async def DescribeRunner(self, request: Any, context: Any) -> pb.DescribeRunnerResponse:
        self.called += 1
        caller = guard.caller()
        self.rules = [rule.types for rule in caller.rules]
        return pb.DescribeRunnerResponse(caller=caller.name, scopes=sorted(caller.scopes), name=caller.kind)

    async def CancelTaskGroup(self, request: Any, context: Any) -> pb.CancelTaskGroupResponse:
        """Never answers."""
        self.called += 1
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError

    async def WatchTaskGroup(self, request: Any, context: Any) -> AsyncIterator[pb.WatchTaskGroupResponse]:
        self.called += 1
        try:
            while True:
                yield pb.WatchTaskGroupResponse()
                self.waiting.set()
                error = await self.more.get()
                if error is not None:
                    raise error
        finally:
            self.ended.set()


@dataclass(kw_only=True)
class Node:
    """One that runs. `addresses` are those that it was told to listen on, with their ports."""

    guard: Guard
    tokens: Tokens
    clock: VirtualClock
    servicer: Servicer
    addresses: list[str] = field(default_factory=list)

    def token(self, name: str, **more: Any) -> str:
        return self.tokens.create(name, now=self.clock.now().wall, **more)[1]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now().boot + seconds)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    listen: Iterable[str] = ("127.0.0.1:0",),
    credentials: Credentials | None = None,
    rules: tuple[Rule, ...] = DEFAULT_RULES,
    recheck_seconds: float = 0.0,
    wall: float | None = None,
    extra: Sequence[grpc.GenericRpcHandler] = (),
    revocations: Revocations | None = None,
) -> AsyncIterator[Node]:
    """A node whose tokens are in `folder`. Sockets are always plain."""
    clock = VirtualClock() if wall is None else VirtualClock(wall=wall)
    tokens = Tokens(folder)
    node = Node(
        guard=Guard(
            Identifier(tokens, clock, revocations), Policy(rules), status.abort, recheck_seconds=recheck_seconds
        ),
        tokens=tokens,
        clock=clock,
        servicer=Servicer(),
    )
    server = grpc.aio.server(interceptors=[node.guard])
    servicer: Any = node.servicer
    runner_pb2_grpc.add_RunnerServiceServicer_to_server(servicer, server)
    peer_pb2_grpc.add_PeerServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    reflection.enable_server_reflection([SERVICE], server)
    server.add_generic_rpc_handlers(tuple(extra))
    for address in listen:
        if address.startswith("unix:"):
            server.add_insecure_port(address)
            node.addresses.append(address)
            continue
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials.listener())
        node.addresses.append(f"{address.rpartition(':')[0]}:{port}")
    await server.start()
    try:
        yield node
    finally:
        await server.stop(None)


@asynccontextmanager
async def channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Any]:
    """Its own connection; the stubs would allow no raw bytes on it."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    opened = (
        grpc.aio.insecure_channel(address, options)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options)
    )
    async with opened:
        yield opened


def bearer(token: str | None) -> tuple[tuple[str, str], ...]:
    return () if token is None else (("authorization", f"Bearer {token}"),)


async def code_of(
    channel: Any, path: str, token: str | None = None, metadata: tuple[tuple[str, str | bytes], ...] = ()
) -> tuple[grpc.StatusCode, str]:
    """How a call of this method with an empty request ends, and what is said; a stream, at its first message."""
    descriptor = methods()[path]
    kind = "_".join("stream" if on else "unary" for on in (descriptor.client_streaming, descriptor.server_streaming))
    make: Callable[..., Any] = getattr(channel, kind)
    given: Any = iter((b"",)) if descriptor.client_streaming else b""
    call = make(path)(given, metadata=(*bearer(token), *metadata), timeout=20)
    try:
        if descriptor.server_streaming:
            if await call.read() is grpc.aio.EOF:
                return await call.code(), await call.details()
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def describe(channel: Any, token: str | None = None) -> pb.DescribeRunnerResponse:
    """Who the node takes the caller for; `name` is the kind of proof. Raises AioRpcError."""
    stub: Any = runner_pb2_grpc.RunnerServiceStub(channel)
    answer: pb.DescribeRunnerResponse = await stub.DescribeRunner(
        pb.DescribeRunnerRequest(), metadata=bearer(token), timeout=20
    )
    return answer
