"""The contract of `drivers.base`, as tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

from drivers import contract, specschema
from drivers.base import Driver, Outcome, RecoverError, Recovery, Status
from drivers.conformance.bench import Attempt, Bench
from drivers.guarded import Guarded
from runner.errors import DocumentError
from runner.model.event import Kind

Play = Callable[[Bench], Coroutine[Any, Any, None]]


class DriverContract:
    """Derive from it, in a module of tests, and say what is tried:

        class TestMine(DriverContract):
            driver = MyDriver
            ends = {"command": "true"}
            stays = {"command": "sleep 1000"}

    pytest collects it as it is. What is known only when a test runs (a port, say) is set on `self` by a fixture.
    """

    driver: ClassVar[type[Driver[Any]]]
    """As the entry point names it."""
    ends: Mapping[str, Any] = {}
    """A spec of an attempt that ends by itself, successfully."""
    exports: Sequence[str] = ()
    """What it exports."""
    stays: Mapping[str, Any] | None = None
    """A spec of an attempt that goes on until it is stopped; None where there can be none."""
    refused: Sequence[Mapping[str, Any]] = ()
    """Specs that have to be refused."""
    seconds = 30.0
    """How long each test may take: what has to come to an end and does not fails by it."""

    # What it says of itself.

    def test_it_can_be_loaded_as_a_plugin(self) -> None:
        contract.made(self.driver, self.driver.type)

    def test_its_spec_has_a_json_schema(self) -> None:
        json.dumps(specschema.of(self.driver.spec_model), allow_nan=False)

    def test_it_says_how_it_is(self) -> None:
        async def play(bench: Bench) -> None:
            found = await Guarded(bench.driver).fingerprint()
            assert found.healthy or found.description, "it is not healthy and does not say why"

        self._play(play)

    def test_wrong_specs_are_refused(self) -> None:
        async def play(bench: Bench) -> None:
            for spec in self.refused:
                try:
                    bench.task(spec)
                except DocumentError:
                    continue
                raise AssertionError(f"this spec was accepted: {spec}")

        self._play(play)

    def test_its_check_raises_nothing_whatever_stands_there(self) -> None:
        async def play(bench: Bench) -> None:
            specs: tuple[Mapping[str, Any], ...] = (
                {},
                {"unknown": [{}, None]},
                dict.fromkeys(self.ends),
                {key: ["{{ .a.b }}"] for key in self.ends},
            )
            for spec in specs:
                list(bench.driver.check(spec, ("x",), ("a.b",)))

        self._play(play)

    # One attempt.

    def test_an_attempt_ends_with_its_exports(self) -> None:
        async def play(bench: Bench) -> None:
            outcome = await self._ended(bench)
            assert outcome.outputs.keys() == set(self.exports)

        self._play(play)

    def test_to_start_again_with_the_same_key_attaches(self) -> None:
        async def play(bench: Bench) -> None:
            driver, ctx = bench.driver, bench.context(self.ends, "twice")
            handle = await driver.start(ctx, "twice")
            assert isinstance(handle, bytes), "start() has to give bytes"
            assert await driver.start(ctx, "twice") == handle, "two starts with one key have to give the same handle"
            assert (await driver.wait(handle)).status is Status.SUCCESS
            await driver.destroy(handle)

        self._play(play)

    def test_destroy_may_be_repeated_and_comes_without_a_start(self) -> None:
        async def play(bench: Bench) -> None:
            driver = bench.driver
            await driver.destroy(b"never-started")
            handle = await driver.start(bench.context(self.ends, "once"), "once")
            await driver.wait(handle)
            await driver.destroy(handle)
            await driver.destroy(handle)

        self._play(play)

    def test_what_comes_after_the_end_is_ignored(self) -> None:
        async def play(bench: Bench) -> None:
            driver = bench.driver
            handle = await driver.start(bench.context(self.ends, "over"), "over")
            await driver.wait(handle)
            await driver.stop(handle, 0.1)
            for signal in driver.capabilities.signals:
                await driver.signal(handle, signal)
            await driver.destroy(handle)

        self._play(play)

    def test_attempts_beside_each_other_are_apart(self) -> None:
        async def play(bench: Bench) -> None:
            outcomes = await asyncio.gather(*(self._ended(bench) for _ in range(3)))
            assert len(outcomes) == 3

        self._play(play)

    # One that has to be ended.

    def test_a_cancelled_attempt_ends(self) -> None:
        async def play(bench: Bench) -> None:
            attempt = await self._stay(bench)
            attempt.cancel()
            outcome = await attempt.outcome()
            assert outcome.status is Status.ABORTED, _told(outcome)
            assert (outcome.kill or {}).get("confirmed") is not False, "it did not end when it was stopped"

        self._play(play)

    def test_to_stop_waiting_leaves_the_attempt_alone(self) -> None:
        async def play(bench: Bench) -> None:
            driver = bench.driver
            handle = await driver.start(bench.context(self._staying(), "left"), "left")
            waiting = asyncio.ensure_future(driver.wait(handle))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            again = asyncio.ensure_future(driver.wait(handle))
            await asyncio.sleep(0)
            assert not again.done(), "it ended with the wait for it"
            await driver.stop(handle, 0.5)
            await again
            await driver.destroy(handle)

        self._play(play)

    def test_a_timeout_ends_it(self) -> None:
        async def play(bench: Bench) -> None:
            attempt = await self._stay(bench, timeout="0.3s")
            outcome = await attempt.outcome()
            assert (outcome.status, outcome.reason) == (Status.FAILED, "timeout"), _told(outcome)

        self._play(play)

    def test_it_understands_the_signals_that_it_names(self) -> None:
        async def play(bench: Bench) -> None:
            signals = bench.driver.capabilities.signals
            attempt = await self._stay(bench)
            for signal, kind in (("pause", Kind.TASK_PAUSED), ("start", Kind.TASK_RESUMED)):
                if signal in signals:
                    attempt.signal(signal)
                    if {"pause", "start"} <= signals:
                        await attempt.until(lambda kind=kind: attempt.ended or attempt.noticed(kind))  # type: ignore[misc]
            assert not attempt.ended, _told(await attempt.outcome())
            if "destroy" in signals:
                attempt.signal("destroy")
            else:
                attempt.cancel()
            await attempt.outcome()

        self._play(play)

    # A runner that comes back.

    def test_a_restarted_runner_does_what_the_capabilities_say(self) -> None:
        async def play(bench: Bench) -> None:
            recovery = bench.driver.capabilities.recovery
            attempt = await self._stay(bench)
            await bench.restart()
            if recovery is not Recovery.NONE:
                attempt.cancel()
            outcome = await attempt.outcome()
            if recovery is Recovery.NONE:
                assert outcome.reason == "driver_lost", _told(outcome)
            else:
                assert outcome.status is Status.ABORTED, _told(outcome)

        self._play(play)

    def test_what_is_unknown_cannot_be_found_again(self) -> None:
        async def play(bench: Bench) -> None:
            if bench.driver.capabilities.recovery is not Recovery.ATTACH:
                raise SkipTest("it does not find attempts again")
            handle = await bench.driver.start(bench.context(self.ends, "gone"), "gone")
            await bench.driver.wait(handle)
            await bench.driver.destroy(handle)
            await bench.restart()
            try:
                await bench.driver.recover(bench.context(self.ends, "gone"), handle)
            except RecoverError:
                return
            raise AssertionError("recover() has to raise RecoverError for what it does not know")

        self._play(play)

    # How these are played.

    def _play(self, play: Play) -> None:
        async def main() -> None:
            async with asyncio.timeout(self.seconds), Bench(self.driver) as bench:
                await play(bench)

        asyncio.run(main())

    def _staying(self) -> Mapping[str, Any]:
        if self.stays is None:
            raise SkipTest("no attempt of it stays")
        return self.stays

    async def _ended(self, bench: Bench) -> Outcome:
        attempt = await bench.begin(self.ends, exports=self.exports)
        outcome = await attempt.outcome()
        assert outcome.status is Status.SUCCESS, _told(outcome)
        return outcome

    async def _stay(self, bench: Bench, **more: Any) -> Attempt:
        attempt = await bench.begin(self._staying(), **more)
        assert not attempt.ended, _told(await attempt.outcome())
        return attempt


def _told(outcome: Outcome) -> str:
    return f"it ended as {outcome.status} ({outcome.reason}): {outcome.error}"
