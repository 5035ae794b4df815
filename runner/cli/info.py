"""`runner info`: what a node is, can do and has to do."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_node
from runner.cli.terminal import STDOUT, Output, visible
from runner.clock import rfc3339
from runner.model.words import duration

if TYPE_CHECKING:
    from runner.client import AsyncClient, Description
    from runner.model.peer import PeerState


def run(options: Namespace) -> int:
    return with_node(options, _info)


async def _info(client: AsyncClient, options: Namespace) -> int:
    node = await client.describe()
    stdout = Output(STDOUT)
    if options.output == "json":
        types = [{**asdict(type), "spec_schema": json.loads(type.spec_schema or "{}")} for type in node.types]
        peers = [{**asdict(peer), "since": rfc3339(peer.since)} for peer in node.peers]
        plain = {**asdict(node), "types": types, "peers": peers, "started_at": rfc3339(node.started_at)}
        stdout.print(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        stdout.print("\n".join(map(visible, _told(node))))
    return stdout.status(0)


def _told(node: Description) -> Iterator[str]:
    yield f"{node.name}: runner {node.version}, up for {duration(max(0.0, time.time() - node.started_at))}"
    if node.draining:
        yield "  it is draining: it ends when what runs has ended, and accepts nothing"
    yield f"  node id   {node.node_id}"
    if node.labels:
        yield f"  labels    {', '.join(f'{key}={value}' for key, value in sorted(node.labels.items()))}"
    yield f"  slots     {node.running} of {node.capacity} taken, {node.waiting} tasks wait for one"
    yield f"  groups    {node.groups:,} of {node.max_groups:,}"
    yield f"  you are   {node.caller or 'nobody'}, and may {', '.join(node.scopes) or 'nothing'}"
    width = max((len(type.name) for type in node.types), default=0)
    for number, type in enumerate(node.types):
        state = "" if type.healthy else "cannot be used now: "
        yield f"  {'types' if not number else '':9} {type.name:{width}}  {state}{type.description}".rstrip()

    width = max((len(peer.name) for peer in node.peers), default=0)
    for number, peer in enumerate(node.peers):
        yield f"  {'peers' if not number else '':9} {peer.name:{width}}  {_peer(peer)}"


def _peer(peer: PeerState) -> str:
    seconds = duration(max(0.0, time.time() - peer.since))
    if not peer.there:
        why = f": {peer.trouble}" if peer.trouble else ""
        return f"away for {seconds}{why}"
    labels = "".join(f", {name}={value}" for name, value in sorted(peer.labels.items()))
    return f"there for {seconds}, {peer.running} attempts of this runner{labels}"


def add_arguments(parser: ArgumentParser) -> None:
    add_output_argument(parser, "all of it, with the JSON Schema of each task type's spec")
    add_place_arguments(parser, node_only=True)
