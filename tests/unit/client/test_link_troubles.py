"""The line to a peer goes on, whatever became of a session, and says what is wrong."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

from runner.client.link import Link
from runner.model.endpoint import Endpoint
from runner.model.session import FromExecutor, Loaded
from tests.unit.client.scripted import Hear, ScriptedPeer
from tests.unit.client.test_link import HELLO, LOAD, Party, linked


class Delicate(Party):
    """Cannot bear the first thing that it hears."""

    def heard(self, message: FromExecutor) -> None:
        self.said.append(message)
        if self.said.count(message) == 1:
            raise KeyError(message)
        self.ends.put_nowait("it is heard")


async def test_what_cannot_be_borne_ends_one_session_and_no_more(tmp_path: Path) -> None:
    whole = [Hear(), HELLO, Hear(), Loaded(load=LOAD), Hear()]
    party = Delicate()
    async with linked(party, ScriptedPeer(whole, whole), tmp_path):
        assert await party.ends.get() == "this runner could not make anything of what it says (KeyError)"
        assert await party.ends.get() == "it is heard"


async def test_who_cannot_be_reached_is_told_of_with_the_reason() -> None:
    party = Party()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        target = f"127.0.0.1:{nobody.getsockname()[1]}"
        running = asyncio.create_task(Link(Endpoint(target=target), party).run())
        why = await party.ends.get()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert why == f"{target} does not answer: the connection is refused; does a node listen there?"
