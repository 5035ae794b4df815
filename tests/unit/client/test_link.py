"""The line to a peer, which ends a session as a script says."""

from __future__ import annotations

import asyncio
import errno
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from runner.client.link import Link
from runner.errors import SupersededError
from runner.model.endpoint import Endpoint
from runner.model.load import Load
from runner.model.session import ExecutorHello, FromExecutor, FromOrigin, Loaded, OriginHello, Release
from tests.unit.client.scripted import Cut, Hear, ScriptedPeer, Wait, serving

LOAD = Load(slots=4, taken=0, waiting=0)
HELLO = ExecutorHello(node="n2", name="there", instance="i2", load=LOAD)
GREETING = OriginHello(node="n1", name="here")


class Party:
    """Notes down what its link says; its disk is full where it is told so."""

    def __init__(self, *, ready: bool = True, full: bool = False) -> None:
        self.said: list[Any] = []
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.begin: Callable[[], None] = lambda: None
        self._ready = ready
        self._full = full

    def when_ready(self, ready: Callable[[], None]) -> None:
        self.begin = ready
        if self._ready:
            ready()

    def greeting(self) -> OriginHello:
        self.said.append("greeting")
        return GREETING

    def connected(self, hello: ExecutorHello, send: Callable[[FromOrigin], None]) -> None:
        self.said.append(hello)
        send(Release(group="g"))

    def heard(self, message: FromExecutor) -> None:
        if self._full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.said.append(message)

    def disconnected(self, why: str) -> None:
        self.ends.put_nowait(why)


@asynccontextmanager
async def linked(party: Party, peer: ScriptedPeer, folder: Path, **more: Any) -> AsyncIterator[str]:
    """A link of the party; the target that its peer is reached by."""
    async with serving(peer, folder) as target:
        running = asyncio.create_task(Link(Endpoint(target=target), party, **more).run())
        try:
            yield target
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_no_session_begins_before_its_party_is_ready(tmp_path: Path) -> None:
    """It would greet the peer with nothing that is under way, and the peer would end all of it."""
    party = Party(ready=False)
    async with linked(party, ScriptedPeer([Hear(), HELLO, Hear(), SupersededError()]), tmp_path):
        for _ in range(100):
            await asyncio.sleep(0)  # a greeting is made before anything is connected
        assert party.said == []
        party.begin()
        await party.ends.get()
        assert party.said == ["greeting", HELLO]


async def test_one_session_follows_the_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = Loaded(load=LOAD)
    # Of one that ends while something is written gRPC does not tell why: so all is heard before.
    whole = [Hear(), HELLO, Hear(), loaded]
    party, peer = Party(), ScriptedPeer([*whole, Cut()], [Hear()], [*whole, SupersededError()])
    async with linked(party, peer, tmp_path) as target:
        ends = [await party.ends.get() for _ in range(3)]
        assert ends == [
            f"{target} does not answer",
            "it has ended the session",
            f"it says: {SupersededError().message}",
        ]
        assert party.said == ["greeting", HELLO, loaded, "greeting", "greeting", HELLO, loaded]
        assert peer.heard == [GREETING, Release(group="g"), GREETING, GREETING, Release(group="g")]
        gc.collect()
        # Nothing of a session that has ended waits on.
        assert [record.message for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize(
    ("steps", "full", "patience", "why"),
    [
        ([Wait()], False, 0.2, "it did not answer the greeting within 0.2 s"),
        (
            [Loaded(load=LOAD)],
            False,
            30.0,
            "it speaks another protocol: one of the two runners has to be upgraded",
        ),
        ([HELLO, Loaded(load=LOAD)], True, 30.0, "a log cannot be written here: No space left on device"),
    ],
)
async def test_why_there_is_no_session_is_told(
    steps: list[Any], full: bool, patience: float, why: str, tmp_path: Path
) -> None:
    party = Party(full=full)
    async with linked(party, ScriptedPeer(steps), tmp_path, patience=patience):
        assert await party.ends.get() == why
