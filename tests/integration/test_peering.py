"""An executor, asked by an origin that is nothing but its side of a session, over a real socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from msgspec.structs import replace

from runner.clock import SystemClock
from runner.config.service import DEFAULT_RULES, Limits, Rule, Scope
from runner.model.dispatch import AttemptId, Finished, Started
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.model.session import (
    Acknowledge,
    Afresh,
    Cancel,
    FromExecutor,
    Loaded,
    Printed,
    Refused,
    Release,
    Reported,
    Signal,
    hop,
)
from runner.model.task import Export
from runner.model.value import Value
from runner.rotation import rotate
from runner.tokens import Tokens
from runner.v1 import peer_pb2, runner_pb2
from tests.peers import Talk, is_finished, submit, talking
from tests.rpc import Desk, desk

pytestmark = pytest.mark.timeout(90)
Code = grpc.StatusCode
ID = AttemptId("g", "t", 1)


@asynccontextmanager
async def met(state: Path, **more: Any) -> AsyncIterator[tuple[Desk, Talk, str]]:
    """An executor, a session with it, and its instance."""
    async with desk(state, **more) as at, talking(at.channel) as talk:
        yield at, talk, (await talk.hello()).instance


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


async def test_the_first_words(tmp_path: Path) -> None:
    async with desk(tmp_path, max_parallel=5) as at, talking(at.channel) as talk:
        hello = await talk.hello()
        assert (hello.name, dict(hello.labels), hello.capacity.slots) == ("n1", {"site": "here"}, 5)
        assert {"os_exec", "expression_evaluation"} <= hello.types
        described = await at.stub.DescribeRunner(runner_pb2.DescribeRunnerRequest())
        assert hello.node == described.node_id


@pytest.mark.parametrize(
    ("message", "code", "told"),
    [
        (peer_pb2.FromOrigin(), Code.INVALID_ARGUMENT, "it says nothing that is known here"),
        (
            peer_pb2.FromOrigin(release=peer_pb2.ReleaseGroup(group="g")),
            Code.INVALID_ARGUMENT,
            "a session begins with a hello",
        ),
        (
            peer_pb2.FromOrigin(hello=peer_pb2.OriginHello(node="o", name="other", version=2)),
            Code.FAILED_PRECONDITION,
            "this runner speaks version 1 of the protocol between runners, and 'other' version 2",
        ),
        (
            peer_pb2.FromOrigin(hello=peer_pb2.OriginHello(node="", name="other", version=1)),
            Code.INVALID_ARGUMENT,
            "its `node` is empty",
        ),
    ],
)
async def test_who_does_not_say_hello_is_told_what_was_expected(
    tmp_path: Path, message: peer_pb2.FromOrigin, code: Code, told: str
) -> None:
    async with desk(tmp_path) as at, talking(at.channel) as talk:
        await talk.say_raw(message)
        ended, details = await talk.ended()
        assert ended is code
        assert told in details


async def test_what_cannot_be_read_ends_the_session(tmp_path: Path) -> None:
    for said in (
        peer_pb2.FromOrigin(cancel=peer_pb2.CancelAttempt()),
        peer_pb2.FromOrigin(hello=peer_pb2.OriginHello(node="o1", name="o", version=1)),
        peer_pb2.FromOrigin(
            signal=peer_pb2.SignalAttempt(id=peer_pb2.AttemptId(group="g", task="t", attempt=1), signal="explode")
        ),
    ):
        async with met(tmp_path) as (_, talk, _):
            await talk.say_raw(said)
            assert (await talk.ended())[0] is Code.INVALID_ARGUMENT


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


async def test_cancelled_before_it_came_it_is_not_started(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(submit(instance, f"touch {tmp_path}/ran", cancel_grace=10.0))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason, outcome.started_at) == (Status.ABORTED, "cancelled", None)
        assert outcome.finished_at is not None
        assert talk.told(ID) == ["finished"]
        await talk.say(submit(instance, f"touch {tmp_path}/ran"))
        assert (await talk.outcome(ID)).status is Status.ABORTED
        assert not (tmp_path / "ran").exists()


async def test_cancelled_while_it_runs(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(submit(instance, "trap '' TERM; echo ready; while :; do sleep 0.05; done"))
        await talk.until(lambda said: isinstance(said, Printed))
        await talk.say(Cancel(id=ID, grace=10.0))
        await talk.say(Cancel(id=ID, grace=10.0))  # says what is wanted, not once more
        await talk.say(Cancel(id=ID, grace=0.5))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason) == (Status.ABORTED, "cancelled")
        assert talk.noticed(ID, Kind.KILL_REPORT)[0]["signals"][-1][0] == "SIGKILL"


async def test_cancelled_while_it_waits_for_a_slot(tmp_path: Path) -> None:
    waiting = AttemptId("g", "waits", 1)
    async with met(tmp_path, max_parallel=1) as (_, talk, instance):
        await talk.say(submit(instance, "exec sleep 60"))
        await talk.started(ID)
        await talk.say(submit(instance, f"touch {tmp_path}/ran", id=waiting))
        load = await talk.until(lambda said: isinstance(said, Loaded) and said.capacity.waiting == 1)
        assert isinstance(load, Loaded)
        assert (load.capacity.slots, load.capacity.taken) == (1, 1)
        await talk.say(Cancel(id=waiting, grace=10.0))
        assert (await talk.outcome(waiting)).status is Status.ABORTED
        await talk.say(Cancel(id=ID, grace=10.0))
        assert (await talk.outcome(ID)).status is Status.ABORTED
        await talk.say(Cancel(id=AttemptId("nobody", "t", 1), grace=1.0))  # of which nothing is known
        assert not (tmp_path / "ran").exists()


async def test_what_its_origin_does_not_name_any_more_is_ended_and_told(tmp_path: Path) -> None:
    other = AttemptId("g", "other", 1)
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            for id in (ID, other):
                await talk.say(submit(instance, "exec sleep 60", id=id))
                await talk.started(id)
        async with talking(at.channel) as stranger:
            await stranger.hello(node="o2")  # has none here, and ends none
        async with talking(at.channel) as talk:
            await talk.hello(live=(other,))
            assert (await talk.outcome(ID)).status is Status.ABORTED
            assert talk.told(ID) == ["finished"]
            await talk.say(submit(instance, "exec sleep 60", id=other, after=10_000))
            await talk.say(Cancel(id=other, grace=1.0))
            assert (await talk.finished(other)).sequence == 10_001


async def test_a_new_session_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as at, talking(at.channel) as first:
        instance = (await first.hello()).instance
        await first.say(submit(instance, "exec sleep 60"))
        await first.started(ID)
        async with talking(at.channel) as other, talking(at.channel) as second:
            await other.hello(node="o2")
            await second.hello(live=(ID,))
            assert (await first.ended())[0] is Code.ABORTED
            await second.say(submit(instance, "exec sleep 60"))
            await second.started(ID)
            await second.say(Cancel(id=ID, grace=1.0))
            assert (await second.outcome(ID)).status is Status.ABORTED
            await other.say(submit(instance, "true"))
            assert (await other.outcome(ID)).status is Status.SUCCESS


async def test_a_log_goes_on_behind_its_place_and_large_ones_are_whole(tmp_path: Path) -> None:
    script = "seq 200000; seq 1000 >&2"
    out = b"".join(b"%d\n" % number for number in range(1, 200_001))
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script))
            await talk.finished(ID)
            assert talk.printed[ID] == {"stdout": out, "stderr": out[: out.index(b"1001\n")]}
            assert is_finished(talk.heard[-1], ID)
            pieces = talk.pieces
        assert len(pieces) > 3
        for count in (1, 2, len(pieces) // 2, len(pieces) - 1, len(pieces)):
            async with talking(at.channel) as talk:
                await talk.hello(live=(ID,))
                await talk.say(submit(instance, script, printed=pieces[count - 1].position))
                await talk.finished(ID)
                for stream in ("stdout", "stderr"):
                    left = b"".join(piece.data for piece in pieces[count:] if piece.stream == stream)
                    assert b"".join(piece.data for piece in talk.pieces if piece.stream == stream) == left


async def test_what_a_log_has_given_up_is_told(tmp_path: Path) -> None:
    spec = {"limits": {"log": "64KiB"}}
    script = "seq 100000"
    whole = b"".join(b"%d\n" % number for number in range(1, 100_001))
    async with desk(tmp_path) as at:
        async with talking(at.channel) as first:
            instance = (await first.hello(live=(ID,))).instance
            await first.say(submit(instance, script, spec=spec))
            await first.finished(ID)
        missing, position, begin = 0, 0, 0
        for _ in range(2):  # from the beginning, and from behind the first piece that there still is
            async with talking(at.channel) as talk:
                await talk.hello(live=(ID,))
                await talk.say(submit(instance, script, spec=spec, printed=position))
                await talk.finished(ID)
                reached = begin
                for piece in talk.pieces:
                    reached += piece.missing
                    missing += piece.missing
                    assert piece.data == whole[reached : reached + len(piece.data)]
                    reached += len(piece.data)
                assert reached == len(whole)
                assert talk.noticed(ID, Kind.LOG_GAP)
                position, begin = talk.pieces[0].position, len(talk.pieces[0].data)
        assert missing > len(whole)


async def test_a_log_that_is_masked_again_is_told_afresh(tmp_path: Path) -> None:
    script = 'echo "it is swordfish-9, hush"; echo "and swordfish-9" >&2; while [ ! -e "$DIR/go" ]; do sleep 0.02; done; echo key=swordfish-9 >> $OUTPUT_FILE'
    exports = [Export(name="key", confidential=True)]
    spec = {"envs": {"DIR": str(tmp_path)}}
    masked = {"stdout": b"it is ***, hush\n", "stderr": b"and ***\n"}
    async with desk(tmp_path / "state") as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script, spec=spec, exports=exports))
            await talk.until(lambda said: isinstance(said, Printed) and said.stream == "stderr")
            assert talk.printed[ID]["stdout"] == b"it is swordfish-9, hush\n"
            before = talk.pieces[-1].position
            after = talk.reports(ID)[-1].sequence
            (tmp_path / "go").touch()
            outcome = await talk.outcome(ID)
            assert outcome.outputs == {"key": Value("swordfish-9", True)}
            assert talk.printed[ID] == masked
            words = [_word(said) for said in talk.heard]
            assert words.count("afresh") == 1
            redacted = words.index("log_redacted")
            assert "printed" in words[words.index("afresh") : redacted]
            assert "printed" not in words[redacted:]
            told = {fields["stream"] for fields in talk.noticed(ID, Kind.LOG_REDACTED)}
            assert told == {"stdout", "stderr"}
        # One who was cut off before that hears it all the same; one who has heard it goes on behind.
        async with talking(at.channel) as talk:
            await talk.hello(live=(ID,))
            await talk.say(submit(instance, script, spec=spec, exports=exports, after=after, printed=before))
            end = await talk.finished(ID)
            assert talk.printed[ID] == masked
            behind = talk.pieces[-1].position
        async with talking(at.channel) as talk:
            await talk.hello(live=(ID,))
            await talk.say(submit(instance, script, spec=spec, exports=exports, after=end.sequence - 1, printed=behind))
            await talk.finished(ID)
            assert talk.told(ID) == ["finished"]
            assert ID not in talk.printed


def _word(said: FromExecutor) -> str:
    if isinstance(said, Reported):
        return said.report.kind.value if hasattr(said.report, "kind") else type(said.report).__name__
    return "afresh" if isinstance(said, Afresh) else type(said).__name__.lower()


async def test_it_is_paused_and_goes_on(tmp_path: Path) -> None:
    script = "echo ready; while [ ! -e go ]; do sleep 0.02; done"
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script))
            await talk.until(lambda said: isinstance(said, Printed))
            await talk.say(Signal(id=ID, signal="pause"))
            await talk.until(lambda said: _word(said) == "task_paused")
        async with talking(at.channel) as talk:
            await talk.hello(live=(ID,))
            await talk.say(submit(instance, script, paused=False))  # by now it is to go on
            await talk.until(lambda said: _word(said) == "task_resumed")
            await talk.say(Signal(id=ID, signal="destroy"))
            outcome = await talk.outcome(ID)
            assert (outcome.status, outcome.exit_code) == (Status.ABORTED, 137)
            assert talk.told(ID).count("task_paused") == talk.told(ID).count("task_resumed") == 1


async def test_signals_that_come_before_its_start_are_obeyed_behind_it(tmp_path: Path) -> None:
    paused, destroyed = AttemptId("g", "paused", 1), AttemptId("g", "destroyed", 1)
    async with met(tmp_path, max_parallel=1) as (_, talk, instance):
        await talk.say(submit(instance, "exec sleep 60"))
        await talk.started(ID)
        await talk.say(submit(instance, "exec sleep 60", id=destroyed))
        await talk.say(submit(instance, "exec sleep 60", id=paused, paused=True))
        await talk.say(Signal(id=destroyed, signal="destroy"))
        await talk.say(Signal(id=destroyed, signal="start"))
        await talk.say(Cancel(id=ID, grace=1.0))
        assert (await talk.outcome(destroyed)).exit_code == 137
        await talk.until(lambda said: _word(said) == "task_paused")
        await talk.say(Cancel(id=paused, grace=1.0))
        assert (await talk.outcome(paused)).status is Status.ABORTED


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


async def test_what_cannot_be_begun_here_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path, limits=Limits(groups_per_caller=1)) as at, talking(at.channel) as talk:
        hello = await talk.hello()
        own = hop(hello.name, hello.node)
        for said, reason, message in (
            (submit(hello.instance, type="vault"), "unknown_type", "no task type 'vault'; it has os_exec"),
            (
                submit(hello.instance, hops=("a (1)", own, "b (2)")),
                "refused",
                f"the chain of runners goes in a circle: a (1) → {own} → b (2) → {hello.node}",
            ),
            (
                submit(hello.instance, hops=tuple(f"r ({number})" for number in range(9))),
                "refused",
                "is longer than 8: r (0) → r (1)",
            ),
        ):
            await talk.say(said)
            refused = await talk.refused()
            assert refused.reason == reason
            assert message in refused.message
        await talk.say(submit(hello.instance, "exec sleep 60", hops=tuple(f"r ({number})" for number in range(8))))
        await talk.started(ID)
        await talk.say(submit(hello.instance, id=AttemptId("g", "u", 1)))
        assert "has 1 groups here that are not over" in (await talk.refused()).message
        await talk.say(Cancel(id=ID, grace=1.0))
        await talk.finished(ID)
        async with talking(at.channel) as itself:
            await itself.hello(node=hello.node)
            await itself.say(submit(hello.instance))
            assert "goes in a circle" in (await itself.refused()).message


PEERS = Rule(callers=("peer",), scopes=frozenset({Scope.DISPATCH}), types=("os_exec",), users=("nobody",))


@asynccontextmanager
async def asked_by(state: Path, *rules: Rule) -> AsyncIterator[tuple[Desk, Any]]:
    """A node on loopback, and how to talk to it with a token of a name."""
    async with desk(state, listen=["127.0.0.1:0"], rules=rules) as at:

        def as_caller(name: str, scopes: frozenset[Scope] = frozenset(Scope)) -> Any:
            _, text = Tokens(state).create(name, now=SystemClock().now().wall, scopes=scopes)
            return talking(at.channel, [("authorization", f"Bearer {text}")])

        yield at, as_caller


async def test_who_may_dispatch_has_to_be_named_by_a_rule(tmp_path: Path) -> None:
    async with asked_by(tmp_path, *DEFAULT_RULES, PEERS) as (_, as_caller):
        for name, scopes in (("ada", frozenset(Scope)), ("peer", frozenset(Scope) - {Scope.DISPATCH})):
            async with as_caller(name, scopes) as talk:
                code, details = await talk.ended()
                assert code is Code.PERMISSION_DENIED
                assert "the scope `dispatch`" in details


async def test_what_it_may_use_the_rules_say_and_reloads_count_at_once(tmp_path: Path) -> None:
    submits = Rule(callers=("peer",), scopes=frozenset({Scope.SUBMIT}), types=("*",), users=("*",))
    async with asked_by(tmp_path, PEERS, submits) as (at, as_caller), as_caller("peer") as talk:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, type="expression_evaluation"))
        refused = await talk.refused()
        assert refused.reason == "refused"
        assert refused.message.startswith("this runner does not let 'peer' use the task type \"expression_evaluation\"")
        await talk.say(submit(instance, spec={"user": "root"}))
        assert "does not let 'peer' run tasks as \"root\"" in (await talk.refused()).message
        await talk.say(submit(instance, "exec sleep 60"))
        await talk.started(ID)
        service = at.serving.server.service
        at.serving.server.reload(replace(service, rules=(replace(PEERS, types=("expression_*",)), submits)))
        await talk.say(submit(instance, id=AttemptId("g", "u", 1)))
        assert 'use the task type "os_exec"' in (await talk.refused()).message
        await talk.say(Cancel(id=ID, grace=1.0))  # what runs goes on, and is still its origin's
        assert (await talk.outcome(ID)).status is Status.ABORTED
        at.serving.server.reload(replace(service, rules=(submits,)))
        assert (await talk.ended())[0] is Code.PERMISSION_DENIED


async def test_on_whose_behalf_the_rules_say(tmp_path: Path) -> None:
    own = replace(PEERS, on_behalf_of=("ada", "ci-*"))
    async with asked_by(tmp_path, own) as (_, as_caller), as_caller("peer") as talk:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, "true", id=AttemptId("g", "t", 1), on_behalf_of="eve"))
        refused = await talk.refused()
        assert (refused.reason, refused.message) == (
            "refused",
            "no rule of this runner lets 'peer' dispatch on behalf of 'eve'",
        )
        for number, submitter in enumerate(("ada", "ci-7")):
            id = AttemptId("g", "u", number + 1)
            await talk.say(submit(instance, "true", id=id, on_behalf_of=submitter))
            assert (await talk.outcome(id)).status is Status.SUCCESS


async def test_sessions_of_two_callers_who_say_they_are_one_node_are_apart(tmp_path: Path) -> None:
    both = replace(PEERS, callers=("peer", "eve"))
    async with asked_by(tmp_path, both) as (_, as_caller), as_caller("peer") as talk, as_caller("eve") as eve:
        instance = (await talk.hello()).instance
        await talk.say(submit(instance, "echo secret > file; echo written; while [ ! -e go ]; do sleep 0.02; done"))
        await talk.until(lambda said: isinstance(said, Printed))
        (file,) = (tmp_path / "workspaces/.guests").glob("*/file")
        await eve.hello()
        await eve.say(Cancel(id=ID, grace=0.0))
        await eve.say(Signal(id=ID, signal="destroy"))
        await eve.say(submit(instance, "ls -A"))
        assert (await eve.outcome(ID)).status is Status.SUCCESS
        assert ID not in eve.printed
        await eve.say(Release(group="g"))
        last = AttemptId("h", "t", 1)
        await eve.say(submit(instance, id=last))  # it is heard behind the release
        await eve.finished(last)
        assert file.read_text() == "secret\n"
        await talk.say(Cancel(id=ID, grace=1.0))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason) == (Status.ABORTED, "cancelled")


async def test_a_node_that_drains_ends_sessions_and_its_guests_go_on(tmp_path: Path) -> None:
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo done"
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script))
            await talk.started(ID)
            await at.serving.server.drain(0)
            assert (await talk.ended())[0] is Code.UNAVAILABLE
        async with talking(at.channel) as talk:
            assert (await talk.ended())[0] is Code.UNAVAILABLE
    (tmp_path / "go").touch()
    async with desk(tmp_path) as at, talking(at.channel) as talk:
        await talk.hello(live=(ID,))
        await talk.say(submit(instance, script))
        assert (await talk.outcome(ID)).status is Status.SUCCESS
        assert talk.printed[ID]["stdout"] == b"done\n"


async def test_new_labels_are_said_in_a_new_hello(tmp_path: Path) -> None:
    async with met(tmp_path) as (at, talk, _):
        service = at.serving.server.service
        at.serving.server.reload(replace(service, limits=Limits(groups=5)))
        await talk.say(Cancel(id=ID, grace=1.0))
        at.serving.server.reload(replace(service, labels={"site": "there"}))
        assert (await talk.ended())[0] is Code.UNAVAILABLE
        async with talking(at.channel) as again:
            assert (await again.hello()).labels == {"site": "there"}


async def test_an_origin_that_does_not_listen_costs_no_memory(tmp_path: Path) -> None:
    """It is told of a hundred logs, takes none of it for a while, and then all."""
    ids = [AttemptId("g", f"t{number}", 1) for number in range(30)]
    whole = b"".join(b"%d\n" % number for number in range(1, 100_001))
    async with met(tmp_path) as (at, talk, instance):
        for id in ids:
            await talk.say(submit(instance, "seq 100000", id=id))
        (present,) = at.serving.server._peers._sessions.values()
        for id in ids:
            await at.watched(f"{id}@o1")
        kept = sum(len(said.data) for said in (*present._safe, *present._answers) if isinstance(said, Printed))
        assert kept < 8 << 20
        left = set(ids)
        while left:
            said = await talk.next()
            if isinstance(said, Reported) and isinstance(said.report, Finished):
                left.remove(said.report.id)
        assert all(talk.printed[id]["stdout"] == whole for id in ids)


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


async def test_the_service_is_named_and_healthy(tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with desk(tmp_path) as at:
        stub: Any = health_pb2_grpc.HealthStub(at.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="runner.v1.PeerService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_only_its_user_reads_what_guests_leave(tmp_path: Path) -> None:
    async def run() -> None:
        async with met(tmp_path) as (_, talk, instance):
            await talk.say(submit(instance, "true"))
            assert isinstance((await talk.finished(ID)).outcome.started_at, float)
            assert any(isinstance(report, Started) for report in talk.reports(ID))

    asyncio.run(run())
    for path in (tmp_path / "workspaces/.guests").rglob("*"):
        assert os.lstat(path).st_mode & 0o077 == 0
