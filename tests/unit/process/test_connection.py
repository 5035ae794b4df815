"""What the supervisor sends, and when."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runner.process.supervisor import wire
from runner.process.supervisor.connection import Connection


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    connection = Connection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


def received(theirs: socket.socket) -> list[dict[str, Any]]:
    try:
        return wire.Decoder().feed(theirs.recv(1 << 16))
    except BlockingIOError:
        return []


def test_what_lingers_is_sent_behind_what_was_there_before_and_before_what_comes_later(
    ends: tuple[Connection, socket.socket],
) -> None:
    connection, theirs = ends
    connection.send({"n": 1})
    connection.send_lingering("a", {"n": 2})
    connection.send_lingering("b", {"n": 3})
    connection.send({"n": 4})
    connection.flush()
    assert [message["n"] for message in received(theirs)] == [1, 2, 3, 4]


def test_what_lingers_is_completed_and_then_waits_no_more(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    connection.send_lingering("a", {"exit": None})
    connection.send_lingering("b", {"exit": None})
    connection.flush()
    assert received(theirs) == []
    assert connection.complete("b", {"exit": 0})
    connection.flush()
    assert received(theirs) == [{"exit": None}, {"exit": 0}]


def test_what_was_sent_is_completed_no_more(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    assert not connection.complete("a", {"exit": 0})
    connection.send_lingering("a", {"exit": None})
    connection.send({"other": True})
    connection.flush()
    assert not connection.complete("a", {"exit": 0})
    assert received(theirs) == [{"exit": None}, {"other": True}]


def test_two_that_linger_about_the_same_are_both_sent_and_the_last_is_completed(
    ends: tuple[Connection, socket.socket],
) -> None:
    connection, theirs = ends
    connection.send_lingering("a", {"id": 1, "exit": None})
    connection.send_lingering("a", {"id": 2, "exit": None})
    assert connection.complete("a", {"exit": 0})
    connection.flush()
    assert received(theirs) == [{"id": 1, "exit": None}, {"id": 2, "exit": 0}]


def test_what_the_kernel_does_not_take_stays_in_order(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    text = "x" * 100_000
    for number in range(10):
        connection.send({"n": number, "text": text})
    connection.flush()
    connection.send_lingering("a", {"n": 10})
    decoder = wire.Decoder()
    numbers: list[int] = []
    while connection.pending:
        numbers += [message["n"] for message in decoder.feed(theirs.recv(1 << 20))]
        connection.flush()
    numbers += [message["n"] for message in decoder.feed(theirs.recv(1 << 20))]
    assert numbers == list(range(11))
