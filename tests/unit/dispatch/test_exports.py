"""What leaves an attempt, and what of it is confidential."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, cast

import pytest

from drivers.base import TaskContext
from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId, Finished
from runner.model.event import Kind
from runner.model.log import Redaction, Stream
from runner.model.result import Outcome, Status
from runner.model.task import Export, Task
from runner.model.value import Bindings, Value
from tests.unit.dispatch.harness import ID, KEY, Harness, bindings, within


def ended(
    exports: tuple[Export, ...], outcome: Outcome, values: Bindings | None = None, spec: dict[str, Any] | None = None
) -> tuple[Outcome, Harness]:
    async def body(harness: Harness) -> tuple[Outcome, Harness]:
        harness.driver.finish(KEY, outcome)
        task = Task(name="t", type="scripted", spec=spec or {}, exports=exports)
        return await harness.outcome(task, values), harness

    return within(body)


def success(**outputs: Value) -> Outcome:
    return Outcome(status=Status.SUCCESS, exit_code=0, outputs=outputs)


def test_only_what_is_declared_leaves() -> None:
    exports = (Export(name="a"), Export(name="b", confidential=True), Export(name="c", default="dd"))
    outcome, harness = ended(exports, success(a=Value("1"), b=Value("hushhush"), x=Value("2")))
    assert outcome.status is Status.SUCCESS
    assert outcome.outputs == {"a": Value("1"), "b": Value("hushhush", True), "c": Value("dd")}
    assert harness.notices(Kind.TASK_EXPORT) == [
        {"name": "a", "confidential": False},
        {"name": "b", "confidential": True},
        {"name": "c", "confidential": False},
    ]


def test_a_confidential_default_is_confidential() -> None:
    outcome, _ = ended((Export(name="a", confidential=True, default="x"),), success())
    assert outcome.outputs == {"a": Value("x", True)}


@pytest.mark.parametrize(
    ("produced", "error"),
    [
        ({}, "the task succeeded without its exports 'b', 'c'; it produced nothing but what is declared"),
        ({"B": Value("1")}, "the task succeeded without its exports 'b', 'c'; it produced also 'B'"),
    ],
)
def test_a_success_without_an_export_is_errored(produced: dict[str, Value], error: str) -> None:
    exports = (Export(name="a"), Export(name="b"), Export(name="c"), Export(name="d", default=""))
    outcome, _ = ended(exports, success(a=Value("1"), **produced))
    assert (outcome.status, outcome.reason, outcome.error) == (Status.ERRORED, "export_missing", error)
    assert outcome.exit_code == 0


def test_where_nothing_is_exported_at_all_that_is_said() -> None:
    outcome, _ = ended((Export(name="a"),), success())
    assert outcome.error == "the task succeeded without its export 'a'; it produced nothing"


@pytest.mark.parametrize("status", [Status.FAILED, Status.ABORTED, Status.ERRORED])
def test_what_did_not_succeed_exports_what_it_produced(status: Status) -> None:
    exports = (Export(name="a"), Export(name="b"), Export(name="c", default="d"))
    outcome, _ = ended(exports, Outcome(status=status, outputs={"a": Value("1"), "x": Value("2")}))
    assert (outcome.status, outcome.reason) == (status, None)
    assert outcome.outputs == {"a": Value("1")}


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_value_that_is_no_text_is_refused(text: str) -> None:
    outcome, _ = ended((Export(name="a"),), success(a=Value(text)))
    assert (outcome.status, outcome.reason, outcome.outputs) == (Status.ERRORED, "bad_output", {})
    assert outcome.error is not None
    assert outcome.error.startswith("the export 'a' ")


def test_a_value_that_contains_a_confidential_one_becomes_confidential() -> None:
    values = bindings(imports={"s": {"secret": Value("hushhush", True), "pin": Value("123", True)}})
    exports = (
        Export(name="a"),
        Export(name="b"),
        Export(name="c"),
        Export(name="d"),
        Export(name="e", confidential=True),
    )
    outputs = {
        "a": Value("x-hushhush"),
        "b": Value("123"),
        "c": Value("1234"),
        "d": Value("got s3cr3t!"),
        "e": Value("s3cr3t"),
    }
    outcome, harness = ended(exports, success(**outputs), values)
    assert {name for name, value in outcome.outputs.items() if value.confidential} == {"a", "b", "d", "e"}
    assert outcome.outputs["a"].text == "x-hushhush"
    cause = "it contains a confidential value"
    assert harness.notices(Kind.TASK_EXPORT) == [
        {"name": "a", "confidential": True, "cause": cause},
        {"name": "b", "confidential": True, "cause": cause},
        {"name": "c", "confidential": False},
        {"name": "d", "confidential": True, "cause": cause},
        {"name": "e", "confidential": True},
    ]


def test_an_error_never_shows_what_the_attempt_exports_in_confidence() -> None:
    outcome, _ = ended(
        (Export(name="a", confidential=True),),
        Outcome(status=Status.FAILED, outputs={"a": Value("hushhush")}, error="cannot use hushhush"),
    )
    assert outcome.error == "cannot use ***"


def test_what_cannot_be_masked_is_reported_by_name_once() -> None:
    values = bindings(
        imports={"s": {"pin": Value("123", True), "flag": Value("true", True), "long": Value("hushhush", True)}},
        inputs={"pin": Value("99", True), "none": Value("", True), "open": Value("1")},
        env={"PIN": "{{ .inputs.pin }}", "CODE": "{{ .inputs.pin | replace('99', '98') }}"},
    )
    _, harness = ended(
        (), success(), values, {"a": "{{ .s.pin }}", "b": ["{{ .s.pin }}4"], "c": "{{ .s.long | length }}"}
    )
    names = [notice["name"] for notice in harness.notices(Kind.MASK_SKIPPED)]
    assert names == ["inputs.pin", "s.pin", "s.flag", "spec.c", "env.CODE"]


def test_a_text_made_of_a_short_secret_stays_confidential() -> None:
    values = bindings(imports={"s": {"pin": Value("123", True)}})
    outcome, _ = ended(
        (Export(name="a"), Export(name="b")),
        success(a=Value("pin=123"), b=Value("123x")),
        values,
        {"a": "pin={{ .s.pin }}"},
    )
    assert outcome.outputs == {"a": Value("pin=123", True), "b": Value("123x")}


def test_what_templates_make_of_a_secret_is_masked_in_the_log() -> None:
    written = b"hushhush aHVzaGh1c2g= Bearer hushhush HUSHHUSH t0kent0ken extra99 clear"

    async def start(ctx: TaskContext) -> None:
        ctx.add_mask("later", "extra99")
        assert ctx.is_confidential("so extra99 is")
        assert not ctx.is_confidential("clear")
        ctx.log.write("stdout", written)

    async def body(harness: Harness) -> bytes:
        harness.driver.on_start = start
        harness.driver.finish(KEY, success())
        spec = {"a": "curl -u {{ .s.secret | b64encode }}", "b": {"c": ["{{ .s.secret | upper }}!"]}}
        values = bindings(
            imports={"s": {"secret": Value("hushhush", True)}},
            env={"A": "Bearer {{ .inputs.token | replace('x', 'ken') }}"},
            inputs={"token": Value("t0xt0x", True)},
        )
        await harness.outcome(Task(name="t", type="scripted", spec=spec), values)
        return harness.logs.read(ID, "stdout")

    assert within(body) == b"*** *** Bearer *** *** *** *** clear"


def redacting(written: dict[str, list[bytes]], outcome: Outcome, *exports: Export, spec: Any = None) -> Harness:
    """A harness in which an attempt wrote that and ended so."""

    async def body(harness: Harness) -> Harness:
        async def start(ctx: TaskContext) -> None:
            for stream, pieces in written.items():
                for piece in pieces:
                    ctx.log.write(cast(Stream, stream), piece)

        harness.driver.on_start = start
        harness.driver.finish(KEY, outcome)
        await harness.outcome(Task(name="t", type="scripted", exports=exports, spec=spec or {}))
        return harness

    return within(body)


def test_what_is_exported_in_confidence_is_masked_in_the_stored_log() -> None:
    harness = redacting(
        {"stdout": [b"made t0ken", b"t0ken\nmade aHVzaA\n"], "stderr": [b"nothing"]},
        success(a=Value("t0kent0ken"), b=Value("aHVzaA")),
        Export(name="a", confidential=True),
        Export(name="b"),
    )
    assert harness.logs.read(ID, "stdout") == b"made ***\nmade aHVzaA\n"
    assert harness.notices(Kind.LOG_REDACTED) == [{"stream": "stdout", "marks": 1, "offset": 5}]
    assert isinstance(harness.reports[-1], Finished)


def test_what_is_held_back_when_the_value_becomes_known_is_masked() -> None:
    outcome = success(a=Value("t0kent0ken"))
    harness = redacting(
        {"stdout": [b"t0kent0ken ::add-mask::x\n::add-mask::t0kent0"]}, outcome, Export(name="a", confidential=True)
    )
    assert harness.logs.read(ID, "stdout") == b"*** ::add-mask::x\n::add-mask::***"
    assert b"t0ken" not in harness.logs.read(ID, "stdout")


def test_what_the_task_itself_asks_to_mask() -> None:
    written = {
        "stdout": [b"s3cr3t-1 before\n::add-m", b"ask::s3cr3t-1\ns3cr3t-1 behind\n::add-mask::ab\n"],
        "stderr": [b"s3cr3t-1 and ab\n"],
    }
    outcome = Outcome(status=Status.FAILED, error="s3cr3t-1 is refused", outputs={"a": Value("is s3cr3t-1")})
    harness = redacting(written, outcome, Export(name="a"))
    assert harness.logs.read(ID, "stdout") == b"*** before\n::add-mask::***\n*** behind\n::add-mask::***\n"
    assert harness.logs.read(ID, "stderr") == b"*** and ab\n"
    assert harness.notices(Kind.MASK_SKIPPED) == [{"name": "::add-mask::"}]
    assert harness.notices(Kind.LOG_REDACTED) == [{"stream": "stdout", "marks": 1, "offset": 0}]
    last = harness.reports[-1]
    assert isinstance(last, Finished)
    assert last.outcome.error == "*** is refused"
    assert last.outcome.outputs == {"a": Value("is s3cr3t-1", True)}


def test_a_log_that_cannot_be_redacted_is_no_success() -> None:
    class Stuck(MemoryLogStore):
        def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]:
            raise OSError(errno.ENOSPC, "the disk is full")

    async def body(harness: Harness) -> Outcome:
        harness.driver.finish(KEY, success(a=Value("t0kent0ken")))
        exports = (Export(name="a", confidential=True),)
        return await harness.outcome(Task(name="t", type="scripted", exports=exports))

    outcome = within(body, logs=Stuck())
    assert (outcome.status, outcome.reason, outcome.outputs) == (Status.ERRORED, "log_failed", {})
    assert outcome.error is not None
    assert "still shows it" in outcome.error


def test_what_is_not_kept_is_told_once_at_the_end_as_it_is_then() -> None:
    """The value stands 200 times before the gap, so that it begins earlier once the log is masked."""

    async def start(ctx: TaskContext) -> None:
        ctx.log.limit(64 << 10)
        ctx.log.write("stderr", b"all of it")
        ctx.log.write("stdout", b"t0kent0ken" * 200 + b"x" * 1_000_000)

    async def body(harness: Harness) -> Harness:
        harness.driver.on_start = start
        harness.driver.finish(KEY, success(a=Value("t0kent0ken")))
        await harness.outcome(Task(name="t", type="scripted", exports=(Export(name="a", confidential=True),)))
        return harness

    harness = within(body)
    [gap] = harness.logs.gaps(ID)
    assert harness.notices(Kind.LOG_GAP) == [{"stream": "stdout", "offset": gap.offset, "bytes": gap.bytes}]
    assert harness.notices(Kind.LOG_REDACTED) == [{"stream": "stdout", "marks": 1, "offset": 0}]
    assert harness.logs.read(ID, "stdout") == b"***" + b"x" * (gap.offset - 3)
    assert isinstance(harness.reports[-1], Finished)


def test_a_log_that_is_whole_is_not_asked_for_its_gaps() -> None:
    harness = redacting({"stdout": [b"x" * 1000]}, success())
    assert harness.notices(Kind.LOG_GAP) == []
