"""The suite for drivers finds what is wrong with one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any
from unittest import SkipTest

import pytest

from drivers.base import Capabilities, Finding, Outcome, Recovery, SimpleDriver, Spec, TaskContext
from drivers.conformance import DriverContract


class KnobSpec(Spec):
    stays: bool = False


class Good(SimpleDriver[KnobSpec]):
    type = "good"
    spec_model = KnobSpec

    async def run(self, ctx: TaskContext, spec: KnobSpec) -> Mapping[str, str]:
        if spec.stays:
            await asyncio.get_running_loop().create_future()
        return {"text": "x"}


class StartsTwice(Good):
    starts = 0

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        self.starts += 1
        return await super().start(ctx, f"{key}-{self.starts}")


class EndsWithItsWait(Good):
    async def wait(self, handle: bytes) -> Outcome:
        return await self._running[handle]


class DestroysOnce(Good):
    async def destroy(self, handle: bytes) -> None:
        await super().destroy(handle)
        if handle not in self._known:
            raise KeyError(handle)
        self._known.remove(handle)

    def __init__(self) -> None:
        super().__init__()
        self._known: set[bytes] = set()

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        self._known.add(key.encode())
        return await super().start(ctx, key)


class StopsNothing(Good):
    async def stop(self, handle: bytes, grace: float) -> None:
        return


class StopsOnce(Good):
    async def stop(self, handle: bytes, grace: float) -> None:
        if self._running[handle].done():
            raise RuntimeError("it is over")
        await super().stop(handle, grace)


class Shares(Good):
    async def run(self, ctx: TaskContext, spec: KnobSpec) -> Mapping[str, str]:
        if len([task for task in self._running.values() if not task.done()]) > 1:
            raise RuntimeError("one at a time")
        await asyncio.sleep(0.05)
        return {"text": "x"}


class ForgetsItsExport(Good):
    async def run(self, ctx: TaskContext, spec: KnobSpec) -> Mapping[str, str]:
        return {}


class ChecksWithFaith(Good):
    def check(
        self, spec: Mapping[str, Any], exports: Sequence[str], confidential: Collection[str] = ()
    ) -> Sequence[Finding]:
        return [Finding((), "it stays")] if spec["stays"] else []


class FindsNothingAgain(Good):
    capabilities = Capabilities(recovery=Recovery.ATTACH)


class PausesNothing(Good):
    capabilities = Capabilities(signals=frozenset({"pause", "start"}))


class IsSilent(Good):
    capabilities = Capabilities(deadline=True)


class Suite(DriverContract):
    driver = Good
    ends = {"stays": False}
    exports = ("text",)
    stays = {"stays": True}
    refused = ({"stays": "maybe"},)


METHODS = [name for name in dir(DriverContract) if name.startswith("test_")]


@pytest.mark.parametrize("method", METHODS)
def test_one_that_is_good_passes(method: str) -> None:
    with suppress(SkipTest):
        getattr(Suite(), method)()


@pytest.mark.parametrize(
    ("driver", "method"),
    [
        (StartsTwice, "test_to_start_again_with_the_same_key_attaches"),
        (EndsWithItsWait, "test_to_stop_waiting_leaves_the_attempt_alone"),
        (DestroysOnce, "test_destroy_may_be_repeated_and_comes_without_a_start"),
        (StopsNothing, "test_a_cancelled_attempt_ends"),
        (StopsOnce, "test_what_comes_after_the_end_is_ignored"),
        (Shares, "test_attempts_beside_each_other_are_apart"),
        (ForgetsItsExport, "test_an_attempt_ends_with_its_exports"),
        (ChecksWithFaith, "test_its_check_raises_nothing_whatever_stands_there"),
        (FindsNothingAgain, "test_a_restarted_runner_does_what_the_capabilities_say"),
        (FindsNothingAgain, "test_what_is_unknown_cannot_be_found_again"),
        (IsSilent, "test_a_timeout_ends_it"),
        (PausesNothing, "test_it_understands_the_signals_that_it_names"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_found(driver: type[Good], method: str) -> None:
    suite = type("Suite", (Suite,), {"driver": driver})()
    suite.seconds = 3.0
    with pytest.raises(Exception) as failed:  # noqa: PT011 - an assertion, or what the driver raised
        getattr(suite, method)()
    assert not isinstance(failed.value, SkipTest)


def test_a_spec_that_should_be_refused_and_is_not_is_told() -> None:
    suite = Suite()
    suite.refused = ({"stays": True},)
    with pytest.raises(AssertionError, match="this spec was accepted"):
        suite.test_wrong_specs_are_refused()
