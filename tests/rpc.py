"""A node that serves, for tests: in this process, on its socket, with real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import yaml
from msgspec import Struct

from runner.config import load_settings
from runner.config.service import DEFAULT_RULES, Limits, Rule, Service, Tls
from runner.serving.composition import Serving, open_server
from runner.v1 import runner_pb2 as pb
from runner.v1 import runner_pb2_grpc

WAIT_SECONDS = 30.0


class Desk(Struct, frozen=True):
    """A node, and somebody who asks it."""

    serving: Serving
    channel: grpc.aio.Channel

    @property
    def stub(self) -> runner_pb2_grpc.RunnerServiceAsyncStub:
        return runner_pb2_grpc.RunnerServiceStub(self.channel)  # type: ignore[return-value]  # over an asynchronous channel

    async def submit(self, *tasks: Mapping[str, Any], id: str = "", **more: Any) -> str:
        request = pb.SubmitTaskGroupRequest(document=document(*tasks), id=id, **more)
        return (await self.stub.SubmitTaskGroup(request)).id

    async def watched(self, id: str, **wanted: Any) -> list[pb.Happening]:
        """All that happens until the group is over."""
        found: list[pb.Happening] = []
        async for message in self.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id, **wanted), timeout=WAIT_SECONDS):
            found += message.happenings
        return found

    async def read(self, id: str, task: str, **wanted: Any) -> list[pb.LogChunk]:
        request = pb.ReadLogRequest(id=id, task=task, **wanted)
        return [chunk async for message in self.stub.ReadLog(request, timeout=WAIT_SECONDS) for chunk in message.chunks]

    async def get(self, id: str, **wanted: Any) -> pb.GetTaskGroupResponse:
        return await self.stub.GetTaskGroup(pb.GetTaskGroupRequest(id=id, **wanted))


@asynccontextmanager
async def desk(
    state: Path,
    *,
    limits: Limits | None = None,
    rules: Sequence[Rule] = DEFAULT_RULES,
    listen: Sequence[str] = (),
    tls: Tls | None = None,
    max_parallel: int = 8,
    **more: Any,
) -> AsyncIterator[Desk]:
    """Who asks there does so at the first of the addresses to listen on. `more` is of the service."""
    labels = {"site": "here"}
    service = Service(
        name="n1", labels=labels, limits=limits or Limits(), rules=tuple(rules), listen=tuple(listen), tls=tls, **more
    )
    settings = load_settings({"PATH": "/usr/bin:/bin"}, state_dir=state, max_parallel=max_parallel)
    async with (
        open_server(settings, service) as serving,
        grpc.aio.insecure_channel(serving.server.addresses[0]) as channel,
    ):
        yield Desk(serving, channel)


def document(*tasks: Mapping[str, Any], **more: Any) -> bytes:
    return yaml.safe_dump({"name": "test", **more, "taskGroup": list(tasks)}, sort_keys=False).encode()


def command(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "os_exec", "spec": {"command": script}, **more}
