"""Calls that go on are looked at again and again, whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

from runner.errors import UnauthenticatedError
from runner.rpc import ongoing
from runner.rpc.identity import Caller, Kind, Proof
from runner.rpc.ongoing import Ongoing

ADA = Caller(name="ada", kind=Kind.TOKEN, scopes=frozenset(), rules=())
PROOF = Proof(peer="unix:", authorization=(), certificates=())


class Context:
    def cancelled(self) -> bool:
        return False


async def test_a_look_that_fails_is_not_the_last() -> None:
    """With so many calls that they are looked at in several turns."""
    looks = 0

    def judge(proof: Proof, method: str, before: Caller) -> Exception | None:
        nonlocal looks
        looks += 1
        if looks <= ongoing.AT_ONCE:
            return None
        if looks <= ongoing.AT_ONCE + 3:
            raise ValueError("a fault of ours")
        return UnauthenticatedError("who is that?")

    async def abort(context: Any, error: Exception) -> None:
        raise AssertionError

    at, ends = Ongoing(judge, abort, 0.0), 0

    async def call() -> None:
        nonlocal ends
        context: Any = Context()
        try:
            with at.counted(context, PROOF, "/m", ADA, answers=False):
                await asyncio.Event().wait()
        except UnauthenticatedError:
            ends += 1

    loop = asyncio.get_running_loop()
    told: list[Any] = []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    async with asyncio.timeout(30):
        await asyncio.gather(*(call() for _ in range(ongoing.AT_ONCE + 50)))
    assert ends == ongoing.AT_ONCE + 50
    assert {type(error) for error in told} == {ValueError}
