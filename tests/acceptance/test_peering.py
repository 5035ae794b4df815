"""An executor that is killed: what it has been sent is started once, and its origin hears all of it."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.model.dispatch import AttemptId
from runner.model.result import Status
from runner.model.session import ExecutorHello, FromExecutor, Loaded, Printed, Reported
from runner.model.task import Export
from runner.model.value import Value
from tests.acceptance.command import Command
from tests.acceptance.serving import serving
from tests.peers import Talk, is_finished, submit, talking

pytestmark = pytest.mark.timeout(120)
ID = AttemptId("g", "t", 1)
SCRIPT = (
    'echo ran >> "$DIR/ran"; for i in 1 2 3; do echo "line $i"; while [ ! -e "$DIR/$i" ]; do sleep 0.02; done; done; '
    "echo x=1 >> $OUTPUT_FILE"
)


@pytest.fixture
def state(runner: Command) -> Iterator[Path]:
    """The state directory; the supervisor that works for it is ended with the test."""
    folder = runner.folder.parent / "state"
    yield folder
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as supervisor:
        try:
            supervisor.connect(str(folder / "supervisor.sock"))
        except OSError:
            return
        pid, _, _ = struct.unpack("3i", supervisor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGTERM)


class Origin:
    """What an origin has written down of one attempt, over all sessions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.instance = ""
        self.after = 0
        self.text = b""
        self.position = 0
        self.told: list[str] = []
        self.over = False

    async def ask(self, talk: Talk) -> None:
        hello = await talk.hello(live=(ID,))
        assert isinstance(hello, ExecutorHello)
        self.instance = self.instance or hello.instance
        assert hello.instance == self.instance
        await talk.say(
            submit(
                self.instance,
                SCRIPT,
                spec={"envs": {"DIR": str(self._folder)}},
                exports=[Export(name="x")],
                inputs={"secret": Value("hunter2-hunter2", True)},
                after=self.after,
                printed=self.position,
            )
        )

    async def hear(self, talk: Talk) -> FromExecutor:
        """The next thing that is told, which is then written down."""
        said = await talk.until(lambda said: not isinstance(said, Loaded))
        if isinstance(said, Printed):
            assert said.position > self.position
            assert said.missing == 0
            self.position = said.position
            self.text += said.data
        elif isinstance(said, Reported):
            assert said.report.sequence > self.after
            self.after = said.report.sequence
            self.told.append(talk.told(ID)[-1])
            self.over = is_finished(said, ID)
            if self.over:
                outcome: Any = said.report
                assert (outcome.outcome.status, outcome.outcome.outputs) == (Status.SUCCESS, {"x": Value("1")})
        return said

    def let_on(self) -> None:
        """The task goes on behind what was heard of it."""
        (self._folder / str(self.text.count(b"\n"))).touch()


@pytest.mark.parametrize("heard", [0, 1, 2, 3])
async def test_killed_behind_each_thing_that_it_tells(runner: Command, state: Path, heard: int) -> None:
    origin = Origin(runner.folder)
    lives = 0
    while not origin.over:
        lives += 1
        with serving(runner, "--state-dir", str(state)) as node:
            async with grpc.aio.insecure_channel(node.address) as channel, talking(channel) as talk:
                await origin.ask(talk)
                for _ in range(heard if lives < 4 else 1000):
                    said = await origin.hear(talk)
                    origin.let_on()
                    if is_finished(said, ID):
                        break
                node.process.send_signal(signal.SIGKILL)
                node.process.wait()
    assert (runner.folder / "ran").read_text() == "ran\n"
    assert origin.text == b"line 1\nline 2\nline 3\n"
    assert [word for word in origin.told if word != "task_export"] == ["started", "finished"]
    assert lives > 1


async def test_what_ended_while_nobody_was_there_is_told(runner: Command, state: Path) -> None:
    origin = Origin(runner.folder)
    with serving(runner, "--state-dir", str(state)) as node:
        async with grpc.aio.insecure_channel(node.address) as channel, talking(channel) as talk:
            await origin.ask(talk)
            while not origin.text:
                await origin.hear(talk)
            node.process.send_signal(signal.SIGKILL)
            node.process.wait()
    for number in (1, 2, 3):
        (runner.folder / str(number)).touch()
    for _ in range(2):  # and told again, as long as nobody says that it was heard
        again = Origin(runner.folder)
        again.instance = origin.instance
        with serving(runner, "--state-dir", str(state)) as node:
            async with grpc.aio.insecure_channel(node.address) as channel, talking(channel) as talk:
                await again.ask(talk)
                while not again.over:
                    await again.hear(talk)
                assert again.text == b"line 1\nline 2\nline 3\n"
                node.process.send_signal(signal.SIGKILL)
                node.process.wait()
    assert (runner.folder / "ran").read_text() == "ran\n"
