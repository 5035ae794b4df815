"""Which stream of a log is asked for."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from runner.v1 import runner_pb2 as pb
from tests.rpc import command, desk


async def test_a_stream_that_there_is_not_is_refused(tmp_path: Path) -> None:
    """It is not taken for both: a newer client may mean another one by it."""
    async with desk(tmp_path) as at:
        id = await at.submit(command("prints", "printf out; printf err >&2"))
        await at.watched(id)
        both = await at.read(id, "prints")
        assert {chunk.stream for chunk in both} == {pb.STREAM_STDOUT, pb.STREAM_STDERR}
        assert await at.read(id, "prints", stream=pb.STREAM_UNSPECIFIED) == both
        with pytest.raises(grpc.aio.AioRpcError, match="there is no stream 77; leave it unset for both") as caught:
            await at.read(id, "prints", stream=77)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
