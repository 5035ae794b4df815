"""The log of one attempt: opened before its start, masked again and told of after its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from drivers.base import LogSink
from runner.dispatch.foresight import Foresight
from runner.dispatch.reports import Reports
from runner.dispatch.secrets import Secrets
from runner.errors import StoreCorruptError
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.log import LogGap, Redaction
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Task


class Logs(Protocol):
    """What an attempt needs of a `LogStore`, whose methods these are."""

    def open(self, id: AttemptId, masker: Masker) -> LogSink: ...

    def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]: ...

    def gaps(self, id: AttemptId) -> Sequence[LogGap]: ...


class AttemptLog:
    """`sink` is None until it is opened, `foresight` where nothing has to be foreseen."""

    def __init__(self, id: AttemptId, logs: Logs, complain: Callable[[str, Exception], None]) -> None:
        """`complain` is told what went wrong at which step, where the attempt goes on without it."""
        self.sink: LogSink | None = None
        self.foresight: Foresight | None = None
        self._id = id
        self._logs = logs
        self._complain = complain
        self._known_from_the_start = 0
        """How many values were masked when it was opened."""

    def open(self, task: Task, masker: Masker) -> LogSink:
        """Once `masker` knows all that is confidential from the start."""
        self._known_from_the_start = masker.count
        self.sink = self._logs.open(self._id, masker)
        confidential = [export.name for export in task.exports if export.confidential]
        if confidential:
            self.sink = self.foresight = Foresight(self.sink, masker, confidential)
        return self.sink

    def recall(self) -> None:
        """Learn what the attempt asked to mask in a former life of the runner, and what was held back of what it said, also where
        it says nothing more."""
        if self.sink is not None:
            try:
                self.sink.taken("stdout")
            except (OSError, StoreCorruptError) as error:
                self._complain("log_recall", error)

    def keep_all(self) -> None:
        """Give up nothing more of it: how much is to be kept only the driver knows, and that is not asked any more."""
        if self.sink is not None:
            self.sink.limit(0)

    def close(self) -> None:
        """May be repeated."""
        if self.sink is not None:
            self.sink.close()

    async def redacted(self, outcome: Outcome, secrets: Secrets, reports: Reports, *, resumed: bool) -> Outcome:
        """Mask in what is stored what became confidential after it was opened. `outcome`, or what it becomes if that fails.
        Where the attempt is `resumed` a former life may have done it, and was killed before it could tell."""
        new = secrets.masker.count != self._known_from_the_start
        if self.sink is None or not (new or resumed):
            return outcome
        try:
            # Its own, for a thread of its own: a log may be large. What was known from the start is masked already.
            masker = secrets.masker.copy() if new else Masker()
            told = await asyncio.to_thread(self._logs.redact, self._id, masker)
        except (OSError, StoreCorruptError) as error:
            self._complain("log_redact", error)
            message = "what became confidential while it ran could not be masked in its log, which still shows it"
            return replace(outcome, status=Status.ERRORED, reason=Reason.LOG_FAILED, error=message, outputs={})
        for redaction in told:
            reports.noticed(Kind.LOG_REDACTED, stream=redaction.stream, marks=redaction.marks, offset=redaction.offset)
        return outcome

    def tell_gaps(self, reports: Reports) -> None:
        if self.sink is None or not self.sink.shortened:
            return
        try:
            for gap in self._logs.gaps(self._id):
                reports.noticed(Kind.LOG_GAP, stream=gap.stream, offset=gap.offset, bytes=gap.bytes)
        except (OSError, StoreCorruptError) as error:
            self._complain("log_gaps", error)
