"""A peer that reports what no honest one would."""

from __future__ import annotations

from runner.dispatch.claims import MOST_NOTICED, MOST_TOLD_CHARS, Claims
from runner.model.dispatch import AttemptId, Finished, Noticed, Started
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Export, Task
from runner.model.value import Value

ID = AttemptId("g", "t", 1)
TASK = Task(name="t", type="probe", exports=(Export(name="password", confidential=True), Export(name="url")))


def ended(**outcome: object) -> Outcome:
    report = Finished(id=ID, sequence=2, outcome=Outcome(**outcome))  # type: ignore[arg-type]  # each is given its own
    taken = Claims(TASK, "onprem").taken(report)
    assert isinstance(taken, Finished)
    assert taken.sequence == 2
    return taken.outcome


def test_what_was_declared_confidential_is_and_what_was_not_declared_is_left_out() -> None:
    given = {"password": Value("p"), "url": Value("u"), "more": Value("m")}
    outcome = ended(status=Status.SUCCESS, outputs=given)
    assert outcome.outputs == {"password": Value("p", True), "url": Value("u")}
    assert outcome.status is Status.SUCCESS


def test_a_success_without_its_exports_is_none() -> None:
    outcome = ended(status=Status.SUCCESS, outputs={"url": Value("u")})
    assert (outcome.status, outcome.reason) == (Status.ERRORED, Reason.EXPORT_MISSING)
    assert outcome.error == "onprem says that the task succeeded, without its export 'password'"
    assert ended(status=Status.FAILED, exit_code=1).status is Status.FAILED


def test_an_error_has_an_end() -> None:
    error = ended(status=Status.ERRORED, error="x" * (MOST_TOLD_CHARS + 1)).error
    assert error == "x" * MOST_TOLD_CHARS + "…"


def test_notices_have_an_end_and_what_matters_comes_behind_them() -> None:
    claims = Claims(TASK, "onprem")
    long = "x" * 200_000
    notices = [
        Noticed(id=ID, sequence=number, kind=Kind.MASK_SKIPPED, fields={"name": long})
        for number in range(2, MOST_NOTICED + 4)
    ]
    taken = [notice for notice in map(claims.taken, notices) if notice is not None]
    assert len(taken) == MOST_NOTICED
    assert isinstance(taken[0], Noticed)
    assert len(taken[0].fields["name"]) == MOST_TOLD_CHARS + 1
    start = Started(id=ID, sequence=MOST_NOTICED + 5, at=1.0, handle=b"")
    assert claims.taken(start) == start
