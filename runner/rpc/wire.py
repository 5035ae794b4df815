"""Words and numbers of the model and those of the wire; the parts that messages share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration

from runner.model.log import Stream
from runner.model.result import Status
from runner.v1 import runner_pb2 as pb

STATUSES = {
    Status.PENDING: pb.STATUS_PENDING,
    Status.RUNNING: pb.STATUS_RUNNING,
    Status.SUCCESS: pb.STATUS_SUCCESS,
    Status.FAILED: pb.STATUS_FAILED,
    Status.ERRORED: pb.STATUS_ERRORED,
    Status.ABORTED: pb.STATUS_ABORTED,
    Status.SKIPPED: pb.STATUS_SKIPPED,
}
STATUSES_BACK = {number: status for status, number in STATUSES.items()}

STREAMS: Mapping[Stream, pb.Stream.ValueType] = {"stdout": pb.STREAM_STDOUT, "stderr": pb.STREAM_STDERR}
STREAMS_BACK: Mapping[pb.Stream.ValueType, Stream] = {number: stream for stream, number in STREAMS.items()}

ADMITTED = "runner-shell"
"""What initial metadata holds of a call of `Shell` that its caller may make."""


def duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9))


def duration_seconds(message: Duration) -> float:
    return (message.seconds * 1_000_000_000 + message.nanos) / 1e9


def kill_to_proto(report: Mapping[str, Any]) -> pb.KillReport:
    return pb.KillReport(
        signals=[pb.SentSignal(name=name, after=duration(after)) for name, after in report.get("signals", ())],
        containment=report.get("containment") or "",
        leftovers=report.get("leftovers"),
        left=[pb.LeftProcess(pid=one["pid"], name=one["name"], state=one["state"]) for one in report.get("left", ())],
        survivors=report.get("survivors"),
        confirmed=report.get("confirmed"),
    )


def kill_from_proto(message: pb.KillReport) -> dict[str, Any]:
    report: dict[str, Any] = {}
    if message.containment:
        report["signals"] = [[one.name, duration_seconds(one.after)] for one in message.signals]
        report["containment"] = message.containment
        report["left"] = [{"pid": one.pid, "name": one.name, "state": one.state} for one in message.left]
    for name in ("leftovers", "survivors", "confirmed"):
        if message.HasField(name):
            report[name] = getattr(message, name)
    return report
