"""An executor, asked by an origin that is nothing but its side of a session, over a real socket: each attempt once, told to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runner.model.dispatch import AttemptId, Finished
from runner.model.result import Status
from runner.model.session import Acknowledge, Loaded, Printed, Release, Reported
from runner.model.task import Export
from runner.model.value import Value
from runner.v1 import runner_pb2
from tests.integration.peering.meeting import met
from tests.peers import ID, is_finished, submit, talking
from tests.rpc import desk

pytestmark = pytest.mark.timeout(90)


async def test_an_attempt_from_its_start_to_its_end(tmp_path: Path) -> None:
    script = 'echo "$GREETING {{ .fetch.who }} {{ .inputs.tag }} {{ .group.name }} {{ .task.name }}"; echo err >&2; echo "x=1" >> $OUTPUT_FILE'
    said = submit(
        "",
        script,
        exports=[Export(name="x"), Export(name="key", confidential=True, default="k-e-y-1")],
        imports={"fetch": {"who": Value("world")}},
        inputs={"tag": Value("v1")},
        env={"GREETING": "hello {{ .group.id }}"},
        on_behalf_of="ada",
    )
    async with met(tmp_path) as (at, talk, instance):
        await talk.say(replace(said, dispatch=replace(said.dispatch, instance=instance)))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.exit_code) == (Status.SUCCESS, 0)
        assert outcome.outputs == {"x": Value("1"), "key": Value("k-e-y-1", True)}
        assert outcome.started_at is not None
        assert outcome.finished_at is not None
        assert talk.printed[ID] == {"stdout": b"hello g world v1 deploy t\n", "stderr": b"err\n"}
        assert talk.told(ID)[0] == "started"
        assert talk.told(ID).count("task_export") == 2
        numbers = [report.sequence for report in talk.reports(ID)]
        assert numbers == sorted(set(numbers))
        await talk.say(Acknowledge(id=ID, sequence=numbers[-1]))
        (row,) = (await at.stub.ListTaskGroups(runner_pb2.ListTaskGroupsRequest())).groups
        assert (row.id, row.name, row.caller) == ("g/t/1@o1", "deploy", "local")
        assert dict(row.labels) == {"origin": "origin", "origin-group": "g", "on-behalf-of": "ada"}
        assert [task.status for task in (await at.get(row.id)).tasks] == [runner_pb2.STATUS_SUCCESS]
        assert (await at.read(row.id, "t", stream=runner_pb2.STREAM_STDERR))[0].data == b"err\n"


SLOW = 'for i in 1 2 3; do echo "line $i"; while [ ! -e "$DIR/$i" ]; do sleep 0.02; done; done; echo out >&2; echo x=1 >> $OUTPUT_FILE'


def slow(tmp_path: Path, instance: str, **more: Any) -> Any:
    return submit(instance, SLOW, spec={"envs": {"DIR": str(tmp_path)}}, exports=[Export(name="x")], **more)


async def test_it_is_attached_to_wherever_a_session_was_cut(tmp_path: Path) -> None:
    """An origin that is cut off behind each thing that it is told, and goes on from what it has heard."""
    async with desk(tmp_path / "state") as at:
        texts: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        told: list[tuple[int, str]] = []
        after, position, over, sessions = 0, 0, False, 0
        while not over:
            sessions += 1
            async with talking(at.channel) as talk:
                instance = (await talk.hello(live=(ID,))).instance
                await talk.say(slow(tmp_path, instance, after=after, printed=position))
                said = await talk.until(lambda said: not isinstance(said, Loaded))
                if isinstance(said, Printed):
                    assert said.position > position
                    position = said.position
                    texts[said.stream] += said.data
                    (tmp_path / str(texts["stdout"].count(b"\n"))).touch()
                else:
                    assert isinstance(said, Reported)
                    assert said.report.sequence > after
                    after = said.report.sequence
                    told.append((after, talk.told(ID)[0]))
                    over = is_finished(said, ID)
        assert texts == {"stdout": b"line 1\nline 2\nline 3\n", "stderr": b"out\n"}
        assert [word for _, word in told] == ["started", "task_export", "finished"]
        assert sessions >= 7
        assert len((await at.stub.ListTaskGroups(runner_pb2.ListTaskGroupsRequest())).groups) == 1


async def test_no_report_is_told_before_it_is_safe_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its origin goes on behind what it has heard, so nothing of that may be lost with the power."""
    waiting: list[Callable[[Exception | None], None]] = []
    async with met(tmp_path) as (at, talk, instance):
        engine = at.serving.node.engine
        with monkeypatch.context() as patch:
            patch.setattr(engine, "when_durable", waiting.append)
            await talk.say(submit(instance, "true"))
            for other in (1, 2):
                await talk.say(submit("another", id=AttemptId("g", "other", other)))
                await talk.refused()  # which nobody has to remember
                await at.watched("g/t/1@o1")
            assert talk.told(ID) == []
        assert len(waiting) == 1
        waiting[0](None)
        await talk.finished(ID)
        assert talk.told(ID) == ["started", "finished"]


async def test_one_that_is_over_is_told_again_and_not_run_again(tmp_path: Path) -> None:
    said = "echo ran >> ran; echo done"
    async with desk(tmp_path) as at:
        ends: list[Finished] = []
        for _ in range(3):
            async with talking(at.channel) as talk:
                instance = (await talk.hello(live=(ID,))).instance
                await talk.say(submit(instance, said))
                ends.append(await talk.finished(ID))
                assert talk.printed[ID]["stdout"] == b"done\n"
                position = talk.pieces[-1].position
        assert ends[0] == ends[1] == ends[2]
        (space,) = (tmp_path / "workspaces/.guests").glob("*[!n]")
        assert (space / "ran").read_text() == "ran\n"
        # One who has heard the end already, or says that he has heard more than there was, hears it once more.
        for after in (ends[0].sequence, ends[0].sequence + 50):
            async with talking(at.channel) as talk:
                instance = (await talk.hello()).instance
                await talk.say(submit(instance, said, after=after, printed=position))
                last = await talk.finished(ID)
                assert last.sequence == after + 1
                assert last.outcome == ends[0].outcome
                assert talk.told(ID) == ["finished"]
                assert ID not in talk.printed


async def test_what_is_asked_for_under_a_known_identity_has_to_be_the_same(tmp_path: Path) -> None:
    secret = {"key": Value("hunter22", True)}
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(submit(instance, "true", inputs=secret))
        await talk.finished(ID)
        for other in (
            submit(instance, "false", inputs=secret),
            submit(instance, "true", inputs={"key": Value("hunter23", True)}),
            submit(instance, "true", inputs={"key": Value("hunter22")}),
            submit(instance, "true", inputs=secret, env={"A": "b"}),
        ):
            await talk.say(other)
            refused = await talk.refused()
            assert (refused.id, refused.reason) == (ID, "refused")
            assert refused.message.startswith("conflict: ")
        await talk.say(submit(instance, "true", inputs=secret, on_behalf_of="bob", cancel_grace=0.0))
        assert (await talk.outcome(ID)).status is Status.SUCCESS


async def test_origins_do_not_share_identities(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for node in ("o1", "o2"):
            async with talking(at.channel) as talk:
                instance = (await talk.hello(node=node)).instance
                await talk.say(submit(instance, f"echo {node}; ls"))
                await talk.finished(ID)
                assert talk.printed[ID]["stdout"] == f"{node}\n".encode()


async def test_what_was_given_to_another_life_of_the_state_is_not_begun(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(submit("another", f"touch {tmp_path}/ran"))
        assert (await talk.refused()).reason == "runner_lost"
        await talk.say(submit(instance, "true", id=AttemptId("g", "t", 2)))
        await talk.finished(AttemptId("g", "t", 2))
        # One that is known was begun by this state, whatever instance was written down with it.
        await talk.say(submit("another", "true", id=AttemptId("g", "t", 2)))
        assert (await talk.outcome(AttemptId("g", "t", 2))).status is Status.SUCCESS
        assert not (tmp_path / "ran").exists()


async def test_guests_of_one_group_share_a_workspace_until_it_is_released(tmp_path: Path) -> None:
    second, other = AttemptId("g", "second", 1), AttemptId("h", "other", 1)
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, "echo kept > file; pwd"))
            await talk.finished(ID)
            (space,) = (tmp_path / "workspaces/.guests").glob("*[!n]")
            assert talk.printed[ID]["stdout"] == f"{space}\n".encode()
        await asyncio.to_thread(at.serving.node.engine.flush, lambda: None)
    async with desk(tmp_path) as at, talking(at.channel) as talk:  # the next life of the executor
        assert (await talk.hello()).instance == instance
        await talk.say(submit(instance, "cat file", id=second))
        await talk.finished(second)
        assert talk.printed[second]["stdout"] == b"kept\n"
        await talk.say(submit(instance, "ls -A", id=other))
        await talk.finished(other)
        assert other not in talk.printed
        await talk.say(submit(instance, "exec sleep 60", id=AttemptId("g", "third", 1)))
        await talk.started(AttemptId("g", "third", 1))
        await talk.say(Release(group="g"))
        assert (await talk.outcome(AttemptId("g", "third", 1))).status is Status.ABORTED
        await talk.say(submit(instance, "true", id=AttemptId("h", "last", 1)))  # it is heard behind the release
        await talk.finished(AttemptId("h", "last", 1))
        assert not space.exists()
