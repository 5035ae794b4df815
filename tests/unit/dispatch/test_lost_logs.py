"""The logs of attempts that nobody can find again: nothing of what was said is lost with them, nor shown that is to be masked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Capabilities, Driver, Recovery, SimpleDriver, Spec, TaskContext
from drivers.scripted import ScriptedDriver
from runner.logs.base import LogStore
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.event import Kind
from runner.model.result import Outcome
from runner.model.task import Task
from runner.model.value import Bindings, Value
from runner.sealing import Sealer
from tests.unit.dispatch.harness import ID, KEY, SUCCESS, bindings, running

SEALER = Sealer.ephemeral()
LIMIT = 64 << 10
SECRET = "hunter2hunter2"


class Simple(SimpleDriver[Spec]):
    type = "of a plugin"

    async def run(self, ctx: TaskContext, spec: Spec) -> Outcome:
        return SUCCESS


class Forgetful(ScriptedDriver):
    """Finds nothing again, and has nothing to say about it."""

    async def recover(self, ctx: TaskContext, handle: bytes) -> None:
        await Driver.recover(self, ctx, handle)


DRIVERS: dict[str, Callable[[], Driver[Any]]] = {
    "in this process": Simple,
    "found nothing": lambda: Forgetful("of a plugin", capabilities=Capabilities(recovery=Recovery.ATTACH)),
    "runs again": lambda: ScriptedDriver("of a plugin", capabilities=Capabilities(recovery=Recovery.RERUN)),
}


def values() -> Bindings:
    return bindings(inputs={"secret": Value(SECRET, confidential=True)})


def store(folder: Path, limit: int = 0) -> LogStore:
    return FileLogStore(folder, sealer=SEALER, limit=limit)


def said(folder: Path, *pieces: bytes) -> None:
    """By an attempt whose runner was killed."""
    masker = Masker()
    masker.add(SECRET)
    killed = FileLogStore(folder, sealer=SEALER, call_soon=lambda callback: None)
    sink = killed.open(ID, masker)
    for piece in pieces:
        sink.write("stdout", piece)
    killed.close()


@pytest.mark.parametrize("kind", DRIVERS)
def test_what_a_killed_runner_held_back_is_told_and_what_was_asked_is_masked(tmp_path: Path, kind: str) -> None:
    said(tmp_path, b"a token-one b\n::add-mask::token-one\n", b"and hunter2h")

    async def main() -> None:
        logs, driver = store(tmp_path), DRIVERS[kind]()
        if isinstance(driver, ScriptedDriver):
            driver.finish(KEY, SUCCESS)
        async with running(drivers=[driver], logs=logs) as harness:
            task = Task(name="t", type="of a plugin")
            harness.submit(harness.dispatch(task, values(), resumed=True, handle=b"handle"))
            outcome = await harness.finished(ID)
            assert outcome.reason == (None if kind == "runs again" else "driver_lost")
            assert harness.notices(Kind.LOG_REDACTED) == [{"stream": "stdout", "marks": 1, "offset": 2}]
        assert logs.read(ID, "stdout") == b"a *** b\n::add-mask::***\nand hunter2h"
        logs.close()

    asyncio.run(main())


def test_nothing_of_the_log_of_a_lost_attempt_is_given_up(tmp_path: Path) -> None:
    """Its own limit may be another one than that of all logs; its driver, which would say so, is not asked any more."""
    said(tmp_path, *[b"%999d\n" % number for number in range(200)], b"and hunter2h")

    async def main() -> None:
        logs = store(tmp_path, LIMIT)
        driver = ScriptedDriver("of a plugin", capabilities=Capabilities(recovery=Recovery.ATTACH))
        async with running(drivers=[driver], logs=logs) as harness:
            task = Task(name="t", type="of a plugin")
            harness.submit(harness.dispatch(task, values(), resumed=True, instance="boot/former"))
            assert (await harness.finished(ID)).reason == "host_restarted"
            assert harness.notices(Kind.LOG_GAP) == []
        whole = b"".join(b"%999d\n" % number for number in range(200)) + b"and hunter2h"
        assert logs.read(ID, "stdout") == whole
        logs.close()

    asyncio.run(main())


def test_what_a_gap_leaves_of_a_text_that_was_never_a_value_stays_as_it_is(tmp_path: Path) -> None:
    """A value that was known from the start was masked before there was a gap, in the runner that was killed as in any other."""
    shown = b"hunter2h" + b"x" * (LIMIT // 32 - 9) + b"\n"
    masker = Masker()
    masker.add(SECRET)
    killed = FileLogStore(tmp_path, sealer=SEALER, limit=LIMIT, call_soon=lambda callback: None)
    sink = killed.open(ID, masker)
    for _ in range(100):
        sink.write("stdout", shown)
    [gap] = killed.gaps(ID)
    tail = killed.read(ID, "stdout", gap.offset + gap.bytes, 1 << 20)
    assert tail.startswith(b"hunter2h")
    killed.close()

    async def main() -> None:
        logs, driver = store(tmp_path, LIMIT), DRIVERS["runs again"]()
        assert isinstance(driver, ScriptedDriver)
        driver.finish(KEY, SUCCESS)
        async with running(drivers=[driver], logs=logs) as harness:
            harness.submit(harness.dispatch(Task(name="t", type="of a plugin"), values(), resumed=True))
            await harness.finished(ID)
            assert harness.notices(Kind.LOG_REDACTED) == []
            assert len(harness.notices(Kind.LOG_GAP)) == 1
        assert logs.read(ID, "stdout", gap.offset + gap.bytes, 1 << 20) == tail
        logs.close()

    asyncio.run(main())
