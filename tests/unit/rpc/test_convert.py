from __future__ import annotations

from runner.clock import rfc3339
from runner.model.fault import Fault
from runner.model.log import Frame
from runner.model.result import Status, TaskGroupResult, TaskResult, Waiting
from runner.model.summary import GroupSummary
from runner.model.value import MASK, Value
from runner.rpc import convert
from runner.rpc.wire import STATUSES
from runner.v1 import runner_pb2 as pb

STARTED, FINISHED = rfc3339(1_700_000_000.123456), rfc3339(1_700_000_060.5)
KILL = {
    "signals": [["SIGTERM", 0.0], ["SIGKILL", 10.25]],
    "containment": "cgroup2",
    "leftovers": 0,
    "left": [{"pid": 7, "name": "dd", "state": "D"}],
    "survivors": 0,
}
FULL = TaskResult(
    id="g/a",
    name="a",
    status=Status.FAILED,
    reason="timeout",
    because_of="b",
    waiting=Waiting.PAUSED,
    unreached_since="2026-01-31T09:30:02.000000Z",
    outputs={"url": Value("http://x"), "token": Value("s3cret", True)},
    exit_code=0,
    signal=9,
    cached=True,
    attempts=3,
    runner="n1",
    started_at=STARTED,
    finished_at=FINISHED,
    error="ü",
    kill=KILL,
)
BARE = TaskResult(id="g/b", name="b", status=Status.PENDING)


def test_task_results_there_and_back() -> None:
    for result in (FULL, BARE):
        assert convert.task_from_proto(convert.task_to_proto(result, reveal=True)) == result


def test_confidential_outputs_are_hidden() -> None:
    sent = convert.task_to_proto(FULL, reveal=False)
    assert b"s3cret" not in sent.SerializeToString()
    assert convert.task_from_proto(sent).outputs == {"url": Value("http://x"), "token": Value(MASK, True)}


def test_every_status_has_a_number_of_its_own() -> None:
    assert set(STATUSES) == set(Status)
    assert set(STATUSES.values()) == set(pb.Status.values()) - {pb.STATUS_UNSPECIFIED}


def test_groups_there_and_back() -> None:
    summary = GroupSummary(
        id="g",
        name="n",
        status=Status.ABORTED,
        reason="cancelled",
        labels={"a": "b"},
        caller="me",
        accepted_at=1.25,
        started_at=2.5,
        finished_at=1_700_000_000.5,
        counts={Status.SUCCESS: 2, Status.SKIPPED: 1},
    )
    bare = GroupSummary(id="g", name="", status=Status.PENDING, accepted_at=1.0)
    for one in (summary, bare):
        assert convert.summary_from_proto(convert.summary_to_proto(one)) == one


def test_a_result_is_put_together_of_its_pages() -> None:
    group = pb.TaskGroup(id="g", name="n", status=pb.STATUS_FAILED, started_at=convert.timestamp(1_700_000_000.123456))
    tasks = [convert.task_to_proto(result, reveal=True) for result in (FULL, BARE)]
    assert convert.result_from_proto(group, tasks) == TaskGroupResult(
        id="g", name="n", status=Status.FAILED, started_at=STARTED, results={"a": FULL, "b": BARE}
    )


def test_faults_there_and_back() -> None:
    fault = Fault(
        path=("taskGroup", 2, "spec", "envs", 'a "b".c'),
        message="m",
        hint="h",
        source="f.yaml",
        line=3,
        column=4,
        warning=True,
    )
    for one in (fault, Fault(path=(), message="m")):
        assert convert.fault_from_proto(convert.fault_to_proto(one)) == one


def test_frames_there_and_back() -> None:
    frame = Frame(stream="stderr", offset=1 << 40, data=b"\xff\0", at=12.5, position=99, missing=7)
    assert convert.frame_from_proto(convert.frame_to_proto(frame, "t", 1)) == frame


def test_times_of_all_ages() -> None:
    for at in (0.0, 0.999999999, 1_700_000_000.123456, 253402300799.0, -1.5):
        message = convert.timestamp(at)
        assert message is not None
        assert abs(convert.seconds(message) - at) < 1e-6
        assert 0 <= message.nanos < 1_000_000_000
