from __future__ import annotations

from runner.clock import Moment
from runner.engine.results import group_result
from runner.engine.services import output_context
from runner.model import codec
from runner.model.group import TaskGroup
from runner.model.result import Status, Waiting
from runner.model.task import Export, Scope, Task
from runner.model.value import Value
from runner.sealing import Sealer
from runner.store.base import AttemptRow, GroupRecord, GroupRow, TaskRow

GROUP = TaskGroup(
    name="deploy",
    labels={"team": "web"},
    tasks=(
        Task(
            name="fetch",
            type="os_exec",
            exports=(
                Export(name="url", scope=Scope.GLOBAL),
                Export(name="token", scope=Scope.GLOBAL, confidential=True),
                Export(name="inner"),
            ),
        ),
        Task(name="use", type="os_exec", depends_on=("fetch",)),
        Task(name="after", type="os_exec", depends_on=("use",)),
    ),
)


SEALER = Sealer.ephemeral()


def _seal(plain: bytes) -> bytes:
    return SEALER.seal(plain, output_context("g1", "fetch"))


def _record(*tasks: TaskRow, attempts: tuple[AttemptRow, ...] = ()) -> GroupRecord:
    row = GroupRow(
        id="g1",
        public_id="g1",
        caller="",
        name="deploy",
        digest="",
        document=codec.encode_group(GROUP),
        inputs=b"{}",
        labels={"team": "web"},
        status=Status.RUNNING,
        accepted=Moment(wall=1.0, boot=1.0, boot_id="b"),
        started_at=0.25,
    )
    return GroupRecord(group=row, tasks=tasks, attempts=attempts, last_event=1)


def _fetched() -> TaskRow:
    outputs = {"url": Value("http://x"), "token": Value("hunter2", True), "inner": Value("i")}
    return TaskRow(
        group="g1",
        name="fetch",
        index=0,
        status=Status.SUCCESS,
        attempt=1,
        outputs=codec.encode_values(outputs, _seal),
        exit_code=0,
        kill=b'{"confirmed": false}',
        runner="local",
        started_at=0.25,
        finished_at=1.5,
    )


def test_every_task_of_the_document_appears_with_its_reason_to_wait() -> None:
    result = group_result(_record(_fetched()), SEALER)
    waiting = {name: (task.status, task.waiting) for name, task in result.results.items()}
    assert waiting == {
        "fetch": (Status.SUCCESS, None),
        "use": (Status.PENDING, Waiting.SLOT),
        "after": (Status.PENDING, Waiting.DEPENDENCY),
    }


def test_only_global_outputs_are_shown_and_confidential_ones_are_masked() -> None:
    result = group_result(_record(_fetched()), SEALER)
    assert result.as_json()["results"]["fetch"]["outputs"] == {"url": "http://x", "token": "***"}
    assert result.as_json(reveal=True)["results"]["fetch"]["outputs"] == {"url": "http://x", "token": "hunter2"}


def test_the_result_as_plain_data() -> None:
    plain = group_result(_record(_fetched()), SEALER).as_json()
    assert {name: plain[name] for name in plain if name != "results"} == {
        "id": "g1",
        "name": "deploy",
        "status": "running",
        "reason": None,
        "labels": {"team": "web"},
        "started_at": "1970-01-01T00:00:00.250000Z",
        "finished_at": None,
    }
    fetch = plain["results"]["fetch"]
    assert fetch["id"] == "g1/fetch"
    assert fetch["kill"] == {"confirmed": False}
    assert fetch["finished_at"] == "1970-01-01T00:00:01.500000Z"
    assert "waiting" not in fetch
    assert plain["results"]["use"]["waiting"] == "slot"
