"""What an executor keeps of its guests, and from whom."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from runner.model.dispatch import AttemptId, Finished, Started
from runner.model.result import Outcome
from runner.model.session import Printed, Refused, Reported
from runner.model.task import Export
from runner.model.value import Value
from runner.rotation import rotate
from tests.integration.peering.meeting import met
from tests.peers import ID, submit, talking
from tests.rpc import desk

pytestmark = pytest.mark.timeout(90)


async def test_secrets_of_guests_are_sealed_masked_and_rotated(tmp_path: Path) -> None:
    state = tmp_path / "state"
    said: dict[str, Any] = {
        "imports": {"fetch": {"password": Value("hunter2-hunter2", True)}},
        "inputs": {"token": Value("swordfish-11", True)},
        "exports": [Export(name="key", confidential=True, default="default-of-key")],
    }
    script = 'echo "{{ .fetch.password }} {{ .inputs.token }}"; while [ ! -e "$DIR/go" ]; do sleep 0.02; done'
    spec = {"envs": {"DIR": str(tmp_path)}}
    secrets = (b"hunter2-hunter2", b"swordfish-11", b"default-of-key")
    second = AttemptId("g", "t", 2)
    async with desk(state) as at, talking(at.channel) as talk:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, script, spec=spec, **said))
        await talk.until(lambda said: isinstance(said, Printed))
        assert talk.printed[ID]["stdout"] == b"*** ***\n"
        await talk.say(submit(instance, "true", id=second, **said))
        assert (await talk.outcome(second)).outputs == {"key": Value("default-of-key", True)}
    for path in state.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets), path
    done = rotate(state)
    assert (done.unknown, done.groups) == ([], 2)
    (tmp_path / "go").touch()
    async with desk(state) as at, talking(at.channel) as talk:
        await talk.hello(live=(ID,))
        await talk.say(submit(instance, script, spec=spec, **said))
        await talk.say(submit(instance, "true", id=second, **said))
        ends: dict[AttemptId, Outcome] = {}
        while len(ends) < 2:
            heard = await talk.next()
            if isinstance(heard, Reported) and isinstance(heard.report, Finished):
                ends[heard.report.id] = heard.report.outcome
            assert not isinstance(heard, Refused)
        assert ends[ID].outputs == ends[second].outputs == {"key": Value("default-of-key", True)}
        assert talk.printed[ID]["stdout"] == b"*** ***\n"


def test_only_its_user_reads_what_guests_leave(tmp_path: Path) -> None:
    async def run() -> None:
        async with met(tmp_path) as (_, talk, instance):
            await talk.say(submit(instance, "true"))
            assert isinstance((await talk.finished(ID)).outcome.started_at, float)
            assert any(isinstance(report, Started) for report in talk.reports(ID))

    asyncio.run(run())
    for path in (tmp_path / "workspaces/.guests").rglob("*"):
        assert os.lstat(path).st_mode & 0o077 == 0
