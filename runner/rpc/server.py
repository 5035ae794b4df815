"""A node's gRPC server: where it listens, what it offers there, and how it takes its leave."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from msgspec.structs import replace

from runner.clock import Clock
from runner.config.address import parse
from runner.config.service import Service, Tls
from runner.errors import UsageError
from runner.model.endpoint import LONGEST_SOCKET_PATH_BYTES
from runner.rpc import reflection, status
from runner.rpc.credentials import Credentials
from runner.rpc.guard import Guard
from runner.rpc.identity import Identifier
from runner.rpc.peering import PeerServicer
from runner.rpc.policy import Policy
from runner.rpc.premises import Premises
from runner.rpc.receiving import Receiver
from runner.rpc.revocation import Revocations
from runner.rpc.servicer import RunnerServicer
from runner.rpc.traffic import Traffic
from runner.tokens import Tokens
from runner.v1 import peer_pb2, peer_pb2_grpc, runner_pb2, runner_pb2_grpc

SERVICE = runner_pb2.DESCRIPTOR.services_by_name["RunnerService"].full_name
PEER_SERVICE = peer_pb2.DESCRIPTOR.services_by_name["PeerService"].full_name
CLOSING_SECONDS = 2.0
"""How long calls that go on may take once the server ends."""
MOST_PENDING = 50_000
DAY_SECONDS = 86_400.0
SWITCH_SECONDS = 0.0005
"""How long a thread that reads a large document keeps the loop waiting whenever that has something to do. Python's own is ten times
that, and one answer takes several such waits."""
UNIX = "unix:"

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 10_000),
    # Of calls that come at once gRPC would end some of those above 1,000 without a word; who is too many is to be told so.
    ("grpc.server.max_pending_requests", MOST_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", MOST_PENDING),
)

_log = logging.getLogger(__name__)


class Server:
    """Serves inside `async with`. `addresses` are those that it listens on, with the ports that it was given. `service` is what it
    was told last."""

    def __init__(
        self,
        premises: Premises,
        service: Service,
        tokens: Tokens,
        *,
        socket_path: str,
        watchers: Sequence[grpc.aio.ServerInterceptor] = (),
    ) -> None:
        """`socket_path` is where it listens when `service` names no address. `watchers` see every call, also those
        that are refused."""
        self.addresses: Sequence[str] = ()
        self.service = service
        self._watchers = watchers
        self._premises = premises
        self._clock: Clock = premises.clock
        self._wanted = service.listen or (UNIX + socket_path,)
        self._traffic = Traffic(service.limits)
        self._receiver = Receiver()
        self._servicer = RunnerServicer(premises, service, self._traffic, self._receiver)
        self._identifier = Identifier(tokens, premises.clock)
        self._guard = Guard(self._identifier, Policy(service.rules), status.abort)
        shelling = self._servicer.shelling
        self._peers = PeerServicer(premises, service, self._traffic, lambda: self._guard.policy, shelling)
        self._health = health.aio.HealthServicer()
        self._credentials: Credentials | None = None
        self._server: grpc.aio.Server | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Server:
        """Raises UsageError for an address that cannot be listened on, or must not be."""
        sys.setswitchinterval(SWITCH_SECONDS)
        service = self.service
        if service.tls is not None:
            self._identifier.revocations = _revocations(service.tls)
            self._credentials = Credentials(service.tls, self._clock.now().wall)
            self._complain(self._credentials)
        options = [
            *_OPTIONS,
            *_keepalive(service.keepalive_seconds),
            ("grpc.max_receive_message_length", service.limits.message_bytes),
        ]
        server = self._server = grpc.aio.server(interceptors=[*self._watchers, self._guard], options=options)
        runner_pb2_grpc.add_RunnerServiceServicer_to_server(self._servicer, server)
        peer_pb2_grpc.add_PeerServiceServicer_to_server(self._peers, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable((SERVICE, PEER_SERVICE, health.SERVICE_NAME), server)
        self.addresses = tuple(self._listen(server, address) for address in self._wanted)
        await server.start()
        for name in ("", SERVICE, PEER_SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._traffic.leave()
        assert self._server is not None, "it was entered"
        await self._server.stop(CLOSING_SECONDS)
        self._receiver.close()
        for address in self.addresses:
            if address.startswith(UNIX):
                with suppress(OSError):
                    os.unlink(address.removeprefix(UNIX))

    async def end_shells(self, group: str) -> None:
        """Of a group that is to be removed."""
        await self._servicer.end_shells(group)

    @property
    def streams(self) -> int:
        """How many watches and followed logs there are."""
        return self._traffic.streams

    def reload(self, service: Service) -> None:
        """Take what may change while it serves: certificates, rules, limits, labels. Raises UsageError, and then nothing has
        changed."""
        if service.tls is not None and self._credentials is not None:
            revocations = _revocations(service.tls)
            self._credentials.reload(service.tls, self._clock.now().wall)
            self._identifier.revocations = revocations
            self._complain(self._credentials)
        elif (service.tls is None) is not (self._credentials is None):
            raise UsageError("whether TLS is spoken changes only with a restart")
        self._guard.policy = Policy(service.rules)
        self._traffic.limits = service.limits
        self._servicer.service = self.service = service
        self._peers.reload(service)

    async def look_after(self, seconds: float = DAY_SECONDS) -> None:
        """Read the certificates anew every so many `seconds`, so that what is about to expire is complained about, and what was renewed is shown; for
        ever."""
        while True:
            await asyncio.sleep(seconds)
            self._look_at_certificates()

    def _look_at_certificates(self) -> None:
        if self.service.tls is None or self._credentials is None:
            return
        try:
            self._credentials.reload(self.service.tls, self._clock.now().wall)
        except UsageError as error:
            _log.error("%s", error.message, extra={"action": "certificate"})
        else:
            self._complain(self._credentials)

    async def drain(self, seconds: float) -> None:
        """Take and begin nothing new, end all streams, and wait up to `seconds` until nothing runs any more."""
        await self._health.enter_graceful_shutdown()
        self._traffic.leave()
        resting = asyncio.Event()
        self._premises.engine.rest(resting.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await resting.wait()

    def _listen(self, server: grpc.aio.Server, text: str) -> str:
        address = parse(text)
        if address.path is not None:
            self._listen_locally(server, str(address.path))
            return text
        if self._credentials is not None:
            bound = _bound(text, lambda: server.add_secure_port(text, self._listener()))
        elif self.service.insecure or address.is_local:
            bound = _bound(text, lambda: server.add_insecure_port(text))
        else:
            raise UsageError(
                f"{text} can be reached from other machines, and this runner has no TLS: set [tls] "
                "(`runner certs` makes certificates), or listen on 127.0.0.1, or set insecure = true"
            )
        return str(replace(address, port=bound))

    def _listener(self) -> grpc.ServerCredentials:
        assert self._credentials is not None
        return self._credentials.listener()

    def _listen_locally(self, server: grpc.aio.Server, path: str) -> None:
        """On a socket that nobody but this user, and root, can reach."""
        _check(path)
        _clear(path)
        former = os.umask(0o177)
        try:
            _bound(UNIX + path, lambda: server.add_insecure_port(UNIX + path))
        finally:
            os.umask(former)

    def _complain(self, credentials: Credentials) -> None:
        for warning in credentials.warnings:
            _log.warning("%s", warning, extra={"action": "certificate"})


def _revocations(tls: Tls) -> Revocations | None:
    """Raises UsageError."""
    return None if tls.crl is None or tls.client_ca is None else Revocations(tls.crl, tls.client_ca)


def _keepalive(seconds: float) -> Sequence[tuple[str, int]]:
    """By which a caller is noticed that is gone without a word."""
    milliseconds = int(seconds * 1000)
    return (
        ("grpc.keepalive_time_ms", milliseconds),
        ("grpc.keepalive_timeout_ms", milliseconds * 2 // 3),
        # That is about what the other machine takes; a process that is stopped there would have a minute for its answer.
        ("grpc.http2.ping_timeout_ms", milliseconds * 2 // 3),
        # Callers may ask that often, too.
        ("grpc.http2.min_ping_interval_without_data_ms", min(10_000, milliseconds // 2)),
    )


def _bound(address: str, bind: Callable[[], int]) -> int:
    """The port. Raises UsageError where somebody else has it."""
    try:
        return bind()
    except RuntimeError as error:
        raise UsageError(
            f"{address} cannot be listened on: is it in use by another program, or not this machine's?"
        ) from error


def _check(path: str) -> None:
    """Raises UsageError where no socket can be made, of which gRPC tells nothing."""
    folder = os.path.dirname(path) or "."
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        most = f"{LONGEST_SOCKET_PATH_BYTES} bytes, which is the most for a socket"
        raise UsageError(
            f"{path} cannot be listened on: it has more than {most}; give a shorter `listen` or `state_dir`"
        )
    if not os.path.isdir(folder):
        raise UsageError(
            f"{path} cannot be listened on: there is no folder {folder}; make it, or listen somewhere else"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be listened on: this user may make nothing in {folder}; listen somewhere else")


def _clear(path: str) -> None:
    """Remove a socket that a runner that was killed has left. Raises UsageError where it is in use, or something else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageError(f"{path} is there already and no socket: remove it, or listen somewhere else")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)
            return
    raise UsageError(f"{path} is in use: another runner listens there; end it, or listen somewhere else")
