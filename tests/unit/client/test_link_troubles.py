"""The line to a peer goes on, whatever became of a session, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

from runner.model.session import FromExecutor, Loaded
from tests.unit.client.scripted import Hear, ScriptedPeer
from tests.unit.client.test_link import CAPACITY, HELLO, Party, linked


class Delicate(Party):
    """Cannot bear the first thing that it hears."""

    def heard(self, message: FromExecutor) -> None:
        self.said.append(message)
        if self.said.count(message) == 1:
            raise KeyError(message)
        self.ends.put_nowait("it is heard")


async def test_what_cannot_be_borne_ends_one_session_and_no_more(tmp_path: Path) -> None:
    whole = [Hear(), HELLO, Hear(), Loaded(capacity=CAPACITY), Hear()]
    party = Delicate()
    async with linked(party, ScriptedPeer(whole, whole), tmp_path):
        assert await party.ends.get() == "this runner could not make anything of what it says (KeyError)"
        assert await party.ends.get() == "it is heard"
