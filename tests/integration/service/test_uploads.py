"""The gRPC service over a whole node (its socket, its store, its supervisor): files to work on."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.config.service import Limits
from runner.v1 import runner_pb2 as pb
from tests.integration.service.samples import Code
from tests.rpc import command, desk

pytestmark = pytest.mark.timeout(90)


async def test_a_piece_of_an_upload_that_cannot_be_read(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        upload: Any = at.channel.stream_unary("/runner.v1.RunnerService/UploadWorkspace")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be read") as caught:
            await upload(iter([b"\xff\xff\xff\x01"]))
        assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_a_piece_of_an_upload_has_one_mebibyte_at_most(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        whole = b"".join(piece.data for piece in tarred(a=b"x" * (2 << 20)))
        mebibyte = 1 << 20
        pieces = [
            pb.UploadWorkspaceRequest(data=whole[start : start + mebibyte]) for start in range(0, len(whole), mebibyte)
        ]
        assert (await at.stub.UploadWorkspace(iter(pieces))).bytes == 2 << 20
        with pytest.raises(grpc.aio.AioRpcError, match="a piece of the stream has more than 1,048,576 bytes") as caught:
            await at.stub.UploadWorkspace(iter([pb.UploadWorkspaceRequest(data=whole[: mebibyte + 1])]))
        assert caught.value.code() is Code.INVALID_ARGUMENT


def tarred(**files: bytes) -> Iterator[pb.UploadWorkspaceRequest]:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    whole = target.getvalue()
    for start in range(0, len(whole), 100_000):
        yield pb.UploadWorkspaceRequest(data=whole[start : start + 100_000])


async def test_an_upload_becomes_the_workspace(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        answer = await at.stub.UploadWorkspace(tarred(hello=b"x" * 500_000, other=b"y"))
        assert (answer.bytes, answer.entries) == (500_001, 2)
        id = await at.submit(command("a", "wc -c < hello; cat other"), workspace_id=answer.workspace_id)
        await at.watched(id)
        assert b"".join(chunk.data for chunk in await at.read(id, "a")) == b"500000\ny"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.submit(command("a", "true"), workspace_id=answer.workspace_id)
        assert caught.value.code() is Code.NOT_FOUND
        for _ in range(200):
            if [path.name for path in (tmp_path / "workspaces").iterdir()] == [".uploads"]:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the workspace is still there")


async def test_uploads_that_are_refused_leave_nothing(tmp_path: Path) -> None:
    async def cut() -> AsyncIterator[pb.UploadWorkspaceRequest]:
        for request in list(tarred(a=b"x" * 500_000))[:3]:
            yield request

    async with desk(tmp_path, limits=Limits(workspace_bytes=600_000)) as at:
        streams: dict[str, Iterator[pb.UploadWorkspaceRequest] | AsyncIterator[pb.UploadWorkspaceRequest]] = {
            "outside": tarred(**{"../evil": b"x"}),
            "cut off|end of data": cut(),
            "no tar": iter([pb.UploadWorkspaceRequest(data=b"x" * 1000)]),
            "600,000 bytes": tarred(a=b"x" * 700_000),
        }
        for word, stream in streams.items():
            with pytest.raises(grpc.aio.AioRpcError, match=word) as caught:
                await at.stub.UploadWorkspace(stream)
            assert caught.value.code() in (Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)
        assert list((tmp_path / "workspaces" / ".uploads").iterdir()) == []
