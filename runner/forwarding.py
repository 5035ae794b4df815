"""How a node is put together with its peers: a part of the composition root (`runner.node`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from runner.clock import Clock
from runner.config.service import Service
from runner.model.endpoint import Endpoint

if TYPE_CHECKING:
    from runner.dispatch.remote import RemoteDispatcher
    from runner.logs.base import LogStore


class Forwarding(Struct, frozen=True, kw_only=True):
    """To whom a node forwards, as `service` has it. `node` is the identity of its state; `labels` are those that it has itself at
    present."""

    service: Service
    node: str
    labels: Callable[[], Mapping[str, str]]

    def peers(self, name: str, clock: Clock, logs: LogStore) -> Sequence[RemoteDispatcher]:
        """What its tasks are handed to; `name` is what it calls itself."""
        if not self.service.peers:
            return ()
        from runner.dispatch.remote import RemoteDispatcher

        return [
            RemoteDispatcher(
                peer,
                node=self.node,
                own_name=name,
                clock=clock,
                logs=logs,
                lost_after=self.service.lost_after,
            )
            for peer in self.service.peers
        ]

    def links(self, peers: Sequence[RemoteDispatcher]) -> Iterator[Callable[[], Coroutine[None, None, None]]]:
        """The sessions with them, each for ever."""
        if not peers:
            return
        from runner.client.link import Link

        for peer in peers:
            yield Link(self._endpoint(self.service.peers[peer.name]), peer).run

    def _endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Where nothing else is said, peers know this runner by the certificate that it shows to its callers."""
        tls = self.service.tls
        if tls is None or not endpoint.is_encrypted or endpoint.certificate or endpoint.token_file:
            return endpoint
        return replace(endpoint, certificate=str(tls.certificate), key=str(tls.key))
