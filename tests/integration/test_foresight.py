"""What a program has exported in confidence is masked in what it prints from then on, before anybody sees it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from drivers.registry import Registry
from runner.clock import SystemClock
from runner.dispatch.local import LocalDispatcher
from runner.logs.files import FileLogStore
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report
from runner.model.event import Kind
from runner.model.result import Status
from runner.model.task import Export, Task
from runner.model.value import Bindings, Value
from runner.process.host import SupervisorHost
from runner.sealing import Sealer
from taskimpl.os_exec import OsExecDriver
from tests.contract.process_labs import PATH

ID = AttemptId("g", "t", 1)
COUNT = 150

LINES = """
import os
for number in range({count}):
    with open(os.environ["OUTPUT_FILE"], "a") as file:
        file.write({written})
    os.write(1 + number % 2, b"it is token-%d-token, \\n" % number)
"""
LINE = "f'token=token-{number}-token' + chr(10) * (number < 149)"
HEREDOC = (
    "f'token<<END\\nfirst-line-{number}\\ntoken-{number}-token\\nEND\\nother<<END\\nhalf of it' if number == 0 else ''"
)
"""Of which only the first is whole while the program runs."""
MALFORMED = """
import os, time
os.write(1, b"it is token-0-token, \\nsecond-line-of-it\\n")
while not os.path.exists({log!r}):  # until it is kept
    time.sleep(0.001)
with open(os.environ["OUTPUT_FILE"], "a") as file:
    file.write({written!r})
"""
TOLD = ["token-0-token", "second-line-of-it"]
"""What it prints before it exports it."""
FAULTS = {
    "token=token-0-token\nno variable\n": TOLD[:1],
    "no variable\ntoken=token-0-token\n": TOLD[:1],
    "other=1\ntoken<<END\ntoken-0-token\nsecond-line-of-it\n": TOLD,
    "token<<END\ntoken-0-token\nsecond-line-of-it\nEND \nother=1": TOLD,
    '{"other": 1, "token": "token-0-token\\nsecond-line-of-it': TOLD,
    '{"other": 1, "token": "token-0-token", "another": nothing}': TOLD[:1],
}


async def carried_out(
    folder: Path, script: str, exports: tuple[Export, ...]
) -> tuple[FileLogStore, list[Report], bytes]:
    """The store, what was reported, and all that was ever shown of the log."""
    shown = bytearray()
    position = 0
    store = FileLogStore(folder / "logs", sealer=Sealer.ephemeral())

    def look(id: AttemptId) -> None:
        nonlocal position
        for frame in store.frames(id, position):
            shown.extend(frame.data)
            position = frame.position

    store.subscribe(look)
    for name in ("temp", "work"):
        (folder / name).mkdir(mode=0o700)
    reports: list[Report] = []
    ended = asyncio.Event()

    def hear(report: Report) -> None:
        reports.append(report)
        if isinstance(report, Finished):
            dispatcher.acknowledge(ID, report.sequence)
            ended.set()

    task = Task(name="t", type="os_exec", exports=exports, spec={"command": [sys.executable, "-S", "-c", script]})
    async with (
        asyncio.timeout(40),
        await SupervisorHost.start_private(folder / "state") as host,
        LocalDispatcher(
            name="local",
            registry=Registry([OsExecDriver({"PATH": PATH})]),
            processes=host,
            logs=store,
            temp=str(folder / "temp"),
            clock=SystemClock(),
        ) as dispatcher,
    ):
        bindings = Bindings(group_id="g", group_name="g", task_name="t", task_attempt=1)
        dispatch = Dispatch(
            id=ID,
            instance=dispatcher.instance,
            task=task,
            bindings=bindings,
            workspace=str(folder / "work"),
            grace=1.0,
        )
        dispatcher.submit(dispatch)
        dispatcher.events(ID, 0, hear)
        await ended.wait()
    return store, reports, bytes(shown)


def test_what_is_exported_is_never_shown(tmp_path: Path) -> None:
    script = LINES.format(count=COUNT, written=LINE)
    store, reports, shown = asyncio.run(carried_out(tmp_path, script, (Export(name="token", confidential=True),)))
    assert isinstance(reports[-1], Finished)
    assert reports[-1].outcome.outputs == {"token": Value(f"token-{COUNT - 1}-token", True)}
    assert b"token-" not in shown
    assert len(shown) == COUNT * len("it is ***, \n")
    assert store.read(ID, "stdout") == b"it is ***, \n" * (COUNT // 2)
    kinds = [report.kind for report in reports if isinstance(report, Noticed)]
    assert Kind.LOG_REDACTED not in kinds


def test_what_is_whole_of_a_file_counts(tmp_path: Path) -> None:
    script = LINES.format(count=1, written=HEREDOC)
    _, reports, shown = asyncio.run(carried_out(tmp_path, script, (Export(name="token", confidential=True),)))
    assert shown == b"it is ***, \n"
    assert isinstance(reports[-1], Finished)
    assert reports[-1].outcome.status is Status.FAILED  # for the file has no end


@pytest.mark.parametrize("written", FAULTS)
def test_what_a_malformed_file_tells_is_masked_in_what_was_printed_before(tmp_path: Path, written: str) -> None:
    script = MALFORMED.format(written=written, log=str(tmp_path / "logs" / ID.group / f"{ID.task}.1.log"))
    store, reports, _ = asyncio.run(carried_out(tmp_path, script, (Export(name="token", confidential=True),)))
    assert isinstance(reports[-1], Finished)
    assert (reports[-1].outcome.reason, reports[-1].outcome.outputs) == ("bad_output", {})
    shown = b"it is token-0-token, \nsecond-line-of-it\n"
    for text in FAULTS[written]:
        shown = shown.replace(text.encode(), b"***")
    assert store.read(ID, "stdout") == shown
    assert Kind.LOG_REDACTED in [report.kind for report in reports if isinstance(report, Noticed)]


def test_what_is_not_confidential_is_shown(tmp_path: Path) -> None:
    script = LINES.format(count=2, written="f'token=token-{number}-token' + chr(10)")
    exports = (Export(name="token"), Export(name="other", confidential=True, default="x"))
    _, _, shown = asyncio.run(carried_out(tmp_path, script, exports))
    assert sorted(shown.splitlines()) == [b"it is token-0-token, ", b"it is token-1-token, "]
