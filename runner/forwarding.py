"""To whom a node forwards: told to the composition root (`runner.node`), which makes its `neighbours` of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from runner.config.service import Service


class Forwarding(Struct, frozen=True, kw_only=True):
    """What `service` says of peers. `node` is the identity of the node's state; `labels` are those that it has itself at present."""

    service: Service
    node: str
    labels: Callable[[], Mapping[str, str]]
