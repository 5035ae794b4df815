"""What a node says of the end of a stream that is not kept, to whoever was cut off and asks again: it is told once."""

from __future__ import annotations

from runner.client.resuming import LogProgress
from runner.model.log import Frame, LogGap, Stream
from runner.rpc import convert
from runner.v1 import runner_pb2 as pb

SEEN = Frame(stream="stderr", offset=0, data=b"0123456789", at=1.0, position=100)
LAST = Frame(stream="stdout", offset=0, data=b"x", at=2.0, position=200)
LOST = LogGap(stream="stderr", offset=4, bytes=10).as_frame(2.0, 200)


def progress(stream: Stream | None = None, offset: int = 0) -> LogProgress:
    return LogProgress("g", "t", attempt=1, stream=stream, offset=offset, limit=0, follow=True)


def taken(one: LogProgress, *frames: Frame) -> list[Frame]:
    message = pb.ReadLogResponse(chunks=[convert.frame_to_proto(frame, "t", 1) for frame in frames])
    return [chunk.frame for chunk in one.take(message)]


def test_it_is_told_once() -> None:
    reading = progress()
    assert taken(reading, SEEN, LAST, LOST) == [SEEN, LAST, LOST]
    assert taken(reading, LAST, LOST) == []
    assert reading.request().position == 200


def test_it_is_told_also_where_the_line_broke_before_it() -> None:
    reading = progress()
    assert taken(reading, SEEN, LAST) == [SEEN, LAST]
    assert taken(reading, LOST) == [LOST]


def test_nothing_is_told_of_what_was_seen_or_is_not_asked_for() -> None:
    reading = progress()
    assert taken(reading, SEEN, LAST, LogGap(stream="stderr", offset=4, bytes=6).as_frame(2.0, 200)) == [SEEN, LAST]
    assert taken(progress("stderr", 14), LOST) == []
