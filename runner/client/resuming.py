"""Where to go on in a stream that was interrupted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from runner.model.event import Kind
from runner.model.log import Stream
from runner.model.watch import Happening, LogChunk
from runner.rpc import convert, events
from runner.rpc.wire import STREAMS
from runner.v1 import runner_pb2 as pb

_ENDS = frozenset({Kind.TASK_FINISHED, Kind.TASK_RETRYING})
"""Behind which nothing is told of an attempt any more. The end of one whose failure is held may be told once more."""


class WatchProgress:
    """How far a watch has come: the last event, and for each attempt that runs the position in its log."""

    def __init__(self, id: str, *, after_event: int, output: bool, tasks: Sequence[str]) -> None:
        self.over = False
        self._id = id
        self._last = after_event
        self._output = output
        self._tasks = tasks
        self._positions: dict[tuple[str, int], int] = {}

    def request(self) -> pb.WatchTaskGroupRequest:
        """What asks for all that has not come yet."""
        return pb.WatchTaskGroupRequest(
            id=self._id,
            after_event=self._last,
            output=self._output,
            positions=[
                pb.LogPosition(task=task, attempt=attempt, position=position)
                for (task, attempt), position in self._positions.items()
            ],
            tasks=self._tasks,
        )

    def take(self, response: pb.WatchTaskGroupResponse) -> list[Happening]:
        """What has come, and has not come before."""
        taken: list[Happening] = []
        for message in response.happenings:
            if message.WhichOneof("what") == "log":
                self._take_log(message.log, taken)
            elif message.event.number > self._last:
                self._take_event(message.event, taken)
        return taken

    def _take_event(self, message: pb.Event, taken: list[Happening]) -> None:
        self._last = message.number
        event = events.event_from_proto(message, self._id)
        if event is None:
            return  # of a kind that only a newer client knows
        if event.kind in _ENDS:
            self._positions.pop((event.task or "", event.attempt or 0), None)
        self.over = event.kind is Kind.GROUP_FINISHED
        taken.append(event)

    def _take_log(self, message: pb.LogChunk, taken: list[Happening]) -> None:
        key = (message.task, message.attempt)
        if message.position > self._positions.get(key, 0):
            self._positions[key] = message.position
            taken.append(_chunk(message))


class LogProgress:
    """How far the log of an attempt has been read. The attempt stays the one that the first piece was of."""

    def __init__(
        self, id: str, task: str, *, attempt: int, stream: Stream | None, offset: int, limit: int, follow: bool
    ) -> None:
        self.over = False
        self._ends: dict[int, int] = {} if stream is None else {STREAMS[stream]: offset}
        """How far each stream has come."""
        self._request = pb.ReadLogRequest(
            id=id,
            task=task,
            attempt=attempt,
            stream=pb.STREAM_UNSPECIFIED if stream is None else STREAMS[stream],
            offset=offset,
            limit=limit,
            follow=follow,
        )

    def request(self) -> pb.ReadLogRequest:
        return self._request

    def take(self, response: pb.ReadLogResponse) -> list[LogChunk]:
        request = self._request
        taken = []
        for message in response.chunks:
            end = message.offset + len(message.data)
            if message.attempt == request.attempt and (
                message.position <= request.position if message.data else end <= self._ends.get(message.stream, 0)
            ):
                continue
            self._ends[message.stream] = end
            request.attempt = message.attempt
            request.position = message.position
            request.offset = 0  # the position tells, and there may be only one of them
            taken.append(_chunk(message))
            if request.limit:
                request.limit = max(0, request.limit - len(message.data))
                self.over = not request.limit  # 0 would ask for all
        return taken


def _chunk(message: pb.LogChunk) -> LogChunk:
    return LogChunk(task=message.task, attempt=message.attempt, frame=convert.frame_from_proto(message))
