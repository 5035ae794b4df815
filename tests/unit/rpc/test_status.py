"""Errors on their way to the wire and back."""

from __future__ import annotations

import logging

import grpc
import pytest
from google.rpc.status_pb2 import Status

from runner import errors
from runner.errors import (
    DocumentError,
    InternalError,
    LimitError,
    LogGapError,
    RunnerError,
    StoreCorruptError,
    StoreFullError,
    StoreReadOnlyError,
    UnavailableError,
)
from runner.model.fault import Fault
from runner.rpc import status

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("what, where, what to do"), Code.INVALID_ARGUMENT),
        (errors.GroupNotFoundError("there is no group 'x'"), Code.NOT_FOUND),
        (errors.GroupExistsError("it exists"), Code.ALREADY_EXISTS),
        (errors.UnauthenticatedError("who?"), Code.UNAUTHENTICATED),
        (errors.ForbiddenError("no"), Code.PERMISSION_DENIED),
        (LogGapError("gone", end=77), Code.OUT_OF_RANGE),
        (LimitError("too many", limit=5, retry_after=1.5), Code.RESOURCE_EXHAUSTED),
        (LimitError("too large", limit=5), Code.RESOURCE_EXHAUSTED),
        (UnavailableError("later", retry_after=0.25), Code.UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_there_and_back(error: RunnerError, code: grpc.StatusCode) -> None:
    wire = status.to_wire(error)
    assert (wire.code, wire.message) == (code, error.message)
    back = status.from_wire(*wire)
    assert type(back) is type(error)
    assert (back.message, vars(back)) == (error.message, vars(error))


def test_a_refused_document_brings_its_faults() -> None:
    faults = (Fault(path=("a",), message="worth a look", warning=True), Fault(path=("b", 1), message="wrong", line=3))
    wire = status.to_wire(DocumentError(faults))
    back = status.from_wire(*wire)
    assert isinstance(back, DocumentError)
    assert back.faults == (faults[1], faults[0])
    assert status.is_whole(wire.details, back.faults)


def test_of_many_faults_as_many_as_fit_are_told() -> None:
    faults = tuple(Fault(path=("taskGroup", number), message="m" * 60) for number in range(10_000))
    wire = status.to_wire(DocumentError(faults))
    assert len(wire.details) + 3 * len(wire.message.encode()) < 8000
    back = status.from_wire(*wire)
    assert isinstance(back, DocumentError)
    assert len(back.faults) > 20
    assert not status.is_whole(wire.details, back.faults)


@pytest.mark.parametrize("error", [StoreFullError("/secret/path"), StoreReadOnlyError("/secret/path")])
def test_a_disk_that_cannot_be_written_is_no_fault_of_the_caller(error: RunnerError) -> None:
    wire = status.to_wire(error)
    assert wire.code is Code.UNAVAILABLE
    assert "/secret" not in wire.message
    back = status.from_wire(*wire)
    assert isinstance(back, UnavailableError)
    assert back.retry_after


@pytest.mark.parametrize("error", [ValueError("s3cret"), StoreCorruptError("/secret/path"), OSError(5, "io", "/p")])
def test_nothing_internal_leaves(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        wire = status.to_wire(error)
    assert wire.code is Code.INTERNAL
    assert str(error) not in wire.message
    assert str(error).encode() not in wire.details
    id = wire.message.rpartition(" ")[2]
    (record,) = caplog.records
    assert id in record.getMessage()
    assert str(error) in record.getMessage()
    assert isinstance(status.from_wire(*wire), InternalError)


def test_standard_tools_can_read_it() -> None:
    wire = status.to_wire(LimitError("too many", limit=5, retry_after=1.5))
    told = Status.FromString(wire.details)
    assert (told.code, told.message) == (8, "too many")
    assert [detail.type_url for detail in told.details] == [
        "type.googleapis.com/google.rpc.ErrorInfo",
        "type.googleapis.com/google.rpc.RetryInfo",
    ]


def test_what_says_nothing_of_itself() -> None:
    assert isinstance(status.from_wire(Code.UNKNOWN, "boom", None), InternalError)
    assert isinstance(status.from_wire(Code.UNAVAILABLE, "refused", None), UnavailableError)
    assert isinstance(status.from_wire(Code.RESOURCE_EXHAUSTED, "larger than max", None), LimitError)
