"""Reading the pipes of a process where there is no tee: what is read is gone from the pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS
from runner.process.output import Output, PlainReader, drain

ID = AttemptId("group", "task", 1)


class Restless(PlainReader):
    """Whenever something was read, the process asks on one stream to mask a token and says it on the other."""

    def __init__(self, writers: list[int], lines: int) -> None:
        self.writers = writers
        self.lines = iter(range(lines))

    def read(self, descriptor: int, limit: int) -> bytes:
        data = super().read(descriptor, limit)
        for number in self.lines:
            ask, say = self.writers if number % 2 else reversed(self.writers)
            os.write(ask, b"::add-mask::token-%d-token\n" % number)
            os.write(say, b"it is token-%d-token\n" % number)
            break
        return data


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    made = [os.pipe2(os.O_CLOEXEC) for _ in STREAMS]
    yield made
    for _, writer in made:
        os.close(writer)


def test_what_is_said_while_the_other_stream_is_read_is_not_shown_before_what_was_asked_there(
    pipes: list[tuple[int, int]],
) -> None:
    shown: list[bytes] = []
    store = MemoryLogStore(call_soon=lambda callback: callback())
    store.subscribe(lambda id: shown.extend(frame.data for frame in store.frames(id)))
    sink = store.open(ID, Masker())
    outputs = [Output(index, sink) for index in range(2)]
    for output, (reader, _) in zip(outputs, pipes, strict=True):
        output.hold(reader)
    restless = Restless([writer for _, writer in pipes], 100)

    assert outputs[0].take(restless, 0, outputs[1:])
    assert [bool(output.ahead) for output in outputs].count(True) == 1, "it would take for ever"
    for _ in range(100):
        drain(outputs, restless)
    sink.close()

    assert not any(b"token-" in data for data in shown)
    assert store.read(ID, "stdout") == b"it is ***\n::add-mask::***\n" * 50
    assert store.read(ID, "stderr") == b"::add-mask::***\nit is ***\n" * 50
    assert not any(output.ahead for output in outputs)
    for output in outputs:
        output.release()


def test_a_pipe_that_cannot_be_read_does_not_keep_the_other_from_being_read(pipes: list[tuple[int, int]]) -> None:
    class Broken(PlainReader):
        def read(self, descriptor: int, limit: int) -> bytes:
            if descriptor == pipes[1][0]:
                raise OSError(5, "Input/output error")
            return super().read(descriptor, limit)

    store = MemoryLogStore(call_soon=lambda callback: callback())
    sink = store.open(ID, Masker())
    outputs = [Output(index, sink) for index in range(2)]
    for output, (reader, writer) in zip(outputs, pipes, strict=True):
        output.hold(reader)
        os.write(writer, b"here\n")
    drain(outputs, Broken())
    sink.close()
    assert store.read(ID, "stdout") == b"here\n"
    assert outputs[1].position >= 5, "what could not be read is passed over"
    assert [output.failure is None for output in outputs] == [True, False]
    for output in outputs:
        output.release()
