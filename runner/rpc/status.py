"""Errors on their way to the wire and back: one table. What is not in it becomes a bland INTERNAL with a correlation id, under which
the runner's own log tells what happened; no traceback and no text of an unforeseen error leaves."""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runner.errors import (
    DocumentError,
    ForbiddenError,
    GroupExistsError,
    GroupInUseError,
    GroupNotFoundError,
    InternalError,
    LimitError,
    LogGapError,
    NoShellError,
    ProtocolError,
    RunnerError,
    ShellEndedError,
    StoreFullError,
    StoreReadOnlyError,
    SupersededError,
    TemplateError,
    UnauthenticatedError,
    UnavailableError,
    UsageError,
)
from runner.model.fault import Fault
from runner.rpc.convert import fault_from_proto, fault_to_proto
from runner.v1 import runner_pb2 as pb

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "runner"
MOST_DETAIL_BYTES = 5000
"""What all that is said of an error may take: clients refuse more than 8 KiB of metadata."""
MOST_MESSAGE_CHARS = 1000
FULL_DISK_SECONDS = 5.0

_log = logging.getLogger(__name__)
_Code = grpc.StatusCode


class _Row(NamedTuple):
    error: type[RunnerError]
    code: grpc.StatusCode
    reason: str


_TABLE = (
    _Row(DocumentError, _Code.INVALID_ARGUMENT, "DOCUMENT_REFUSED"),
    _Row(UsageError, _Code.INVALID_ARGUMENT, "BAD_REQUEST"),
    _Row(TemplateError, _Code.INVALID_ARGUMENT, "BAD_TEMPLATE"),
    _Row(GroupNotFoundError, _Code.NOT_FOUND, "NOT_FOUND"),
    _Row(GroupExistsError, _Code.ALREADY_EXISTS, "GROUP_EXISTS"),
    _Row(LogGapError, _Code.OUT_OF_RANGE, "LOG_GAP"),
    _Row(UnauthenticatedError, _Code.UNAUTHENTICATED, "UNAUTHENTICATED"),
    _Row(ForbiddenError, _Code.PERMISSION_DENIED, "FORBIDDEN"),
    _Row(LimitError, _Code.RESOURCE_EXHAUSTED, "LIMIT"),
    _Row(SupersededError, _Code.ABORTED, "SUPERSEDED"),
    _Row(GroupInUseError, _Code.FAILED_PRECONDITION, "GROUP_IN_USE"),
    _Row(NoShellError, _Code.FAILED_PRECONDITION, "NO_SHELL"),
    _Row(ShellEndedError, _Code.ABORTED, "SHELL_ENDED"),
    _Row(ProtocolError, _Code.FAILED_PRECONDITION, "PROTOCOL"),
    _Row(UnavailableError, _Code.UNAVAILABLE, "UNAVAILABLE"),
)
"""In order: the first row whose class an error is of decides."""

_BLAND = {StoreFullError: "the runner's disk is full", StoreReadOnlyError: "the runner cannot write its state"}
"""What is said of errors whose own messages name paths."""


class Wire(NamedTuple):
    """An error as it travels."""

    code: grpc.StatusCode
    message: str
    details: bytes


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """End the call with this error."""
    wire = to_wire(error)
    await context.abort(wire.code, wire.message, ((DETAILS_KEY, wire.details),))
    raise AssertionError("an aborted call goes no further")


def to_wire(error: Exception) -> Wire:
    for kind, message in _BLAND.items():
        if isinstance(error, kind):
            error = UnavailableError(f"{message}; nothing was accepted", retry_after=FULL_DISK_SECONDS)
    for row in _TABLE:
        if isinstance(error, row.error):
            return _wire(row.code, error.message, row.reason, _metadata(error), _retry(error), _faults(error))
    id = secrets.token_hex(8)
    details = "".join(traceback.format_exception(error))
    _log.error("an error inside the runner, %s: %s", id, details, extra={"action": "internal_error", "error_id": id})
    message = f"an error inside the runner; its log tells more under {id}"
    return _wire(_Code.INTERNAL, message, "INTERNAL", {"id": id}, None, ())


def from_wire(code: grpc.StatusCode, message: str, details: bytes | None) -> RunnerError:
    """What `to_wire` was given, as far as it is told. UNAVAILABLE without details is not the runner's word: see the client."""
    status = Status.FromString(details) if details else Status()
    info, retry, faults = ErrorInfo(), None, pb.Faults()
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(RetryInfo.DESCRIPTOR):
            told = RetryInfo()
            detail.Unpack(told)
            retry = told.retry_delay.seconds + told.retry_delay.nanos / 1e9
        elif detail.Is(pb.Faults.DESCRIPTOR):
            detail.Unpack(faults)
    if code is _Code.RESOURCE_EXHAUSTED:
        return LimitError(message, limit=int(info.metadata.get("limit", 0)), retry_after=retry)
    if code is _Code.OUT_OF_RANGE:
        return LogGapError(message, end=int(info.metadata.get("end", 0)))
    if code is _Code.UNAVAILABLE:
        return UnavailableError(message, retry_after=retry)
    if info.reason == "DOCUMENT_REFUSED":
        return DocumentError(tuple(map(fault_from_proto, faults.faults)), message)
    for row in _TABLE:
        if row.code is code and (row.reason == info.reason or not info.reason):
            return row.error(message)
    return InternalError(message or None)


def is_whole(details: bytes | None, faults: Sequence[object]) -> bool:
    """Whether these are all faults of the document that was refused: those that did not fit are told by validating it again."""
    if not details:
        return True
    for detail in Status.FromString(details).details:
        info = ErrorInfo()
        if detail.Is(ErrorInfo.DESCRIPTOR) and detail.Unpack(info):
            return int(info.metadata.get("faults", 0)) <= len(faults)
    return True


def _metadata(error: Exception) -> dict[str, str]:
    match error:
        case LimitError():
            return {"limit": str(error.limit)}
        case LogGapError():
            return {"end": str(error.end)}
        case DocumentError():
            return {"faults": str(len(error.faults))}
    return {}


def _retry(error: Exception) -> float | None:
    return error.retry_after if isinstance(error, LimitError | UnavailableError) else None


def _faults(error: Exception) -> Sequence[Fault]:
    """Errors before warnings, as many as may fit."""
    if not isinstance(error, DocumentError):
        return ()
    faults = [fault for fault in error.faults if isinstance(fault, Fault)]
    return sorted(faults, key=lambda fault: fault.warning)


def _wire(
    code: grpc.StatusCode,
    message: str,
    reason: str,
    metadata: Mapping[str, str],
    retry: float | None,
    faults: Sequence[Fault],
) -> Wire:
    short = message if len(message) <= MOST_MESSAGE_CHARS else message[: MOST_MESSAGE_CHARS - 1] + "…"
    status = Status(code=code.value[0], message=short)
    status.details.add().Pack(ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata))
    if retry is not None:
        whole = int(retry)
        delay = Duration(seconds=whole, nanos=int((retry - whole) * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    if faults:
        told, room = pb.Faults(), MOST_DETAIL_BYTES - status.ByteSize()
        for fault in faults:
            one = fault_to_proto(fault)
            room -= one.ByteSize() + 4
            if room < 0:
                break
            told.faults.append(one)
        status.details.add().Pack(told)
    return Wire(code, short, status.SerializeToString())
