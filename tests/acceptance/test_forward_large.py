"""An attempt that is too large to be sent ends, and others to the same peer go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runner.client.aio import AsyncClient
from runner.model.endpoint import Endpoint
from runner.model.result import Reason, Status
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_hostile_executor import end

pytestmark = pytest.mark.timeout(90)
ONPREM = {"to": "onprem"}


@pytest.mark.parametrize("whole", [False, True])
async def test_what_no_message_holds_is_refused_and_holds_up_nobody(tmp_path: Path, *, whole: bool) -> None:
    for name in ("cloud", "onprem"):
        (tmp_path / name).mkdir()
    onprem = Node(tmp_path / "onprem" / "state")
    config = tmp_path / "cloud" / "runner.toml"
    config.write_text(f'[peers.onprem]\ntarget = "{onprem.socket}"\n')
    cloud = Node(tmp_path / "cloud" / "state", options=["--config", str(config)])
    await asyncio.to_thread(onprem.start)
    await asyncio.to_thread(cloud.start)
    try:
        async with AsyncClient(Endpoint(target=cloud.socket)) as client:
            while not all(peer.there for peer in (await client.describe()).peers):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
            # 21 MiB in the document, and twice as much on the line: in JSON a quotation mark has two characters.
            head = "taskGroup:\n- name: far\n  type: os_exec\n  forward: {to: onprem}\n  spec:\n    command: |\n      true # "
            if whole:
                head = "forward: {to: onprem}\n" + head.replace("  forward: {to: onprem}\n", "")
            large = (await client.submit(head + '"' * (21 << 20) + "\n")).id
            small = (await client.submit(group([shell("far", "true", forward=ONPREM)]))).id
            assert (await end(client, small)).status is Status.SUCCESS
            task = (await end(client, large)).results["far"]
    finally:
        await asyncio.to_thread(cloud.remove)
        await asyncio.to_thread(onprem.remove)
    assert (task.status, task.reason) == (Status.ERRORED, Reason.REFUSED)
    assert task.error is not None
    assert "33,554,432 at most can be sent to another runner" in task.error
    # Nor was the session ended by asking what the runner would say of it.
    assert '"action": "peer_lost"' not in (tmp_path / "cloud" / "node.log").read_text()
