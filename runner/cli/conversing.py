"""A person, or a pipe, and a program that runs somewhere: what the one types the other reads, and what that prints is shown."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from threading import Thread

from runner.cli import keyboard
from runner.cli.terminal import STDERR, STDOUT, Output
from runner.errors import ShellEndedError
from runner.model.shell import Conversation

_DIED_OF = 128
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


async def converse(conversation: Conversation, *, at_terminal: bool) -> int:
    """Until its program has ended; the exit status of that. With a signal it ends before: then it is that of who dies of it, and the
    conversation is the caller's to close. Raises what the conversation does, and ShellEndedError."""
    loop = asyncio.get_running_loop()
    resizing: set[asyncio.Task[None]] = set()

    def resize() -> None:
        task = loop.create_task(conversation.resize(keyboard.size()))
        resizing.add(task)
        task.add_done_callback(resizing.discard)

    with _ended_by_signals() as taken:
        try:
            with keyboard.raw(resize) if at_terminal else nullcontext():
                await _carried_on(conversation, at_terminal)
            return await conversation.exit_code()
        except asyncio.CancelledError:
            if not taken:
                raise
            return _DIED_OF + taken[0]
        except BrokenPipeError:  # whoever read what is printed has enough of it
            return _DIED_OF + signal.SIGPIPE
        finally:
            for task in resizing:
                task.cancel()


async def _carried_on(conversation: Conversation, at_terminal: bool) -> None:
    """Until all that the program prints has been shown; raises what goes wrong before."""
    loop = asyncio.get_running_loop()
    typing = loop.create_task(_type(conversation, at_terminal))
    showing = loop.create_task(_show(conversation))
    try:
        await asyncio.wait([typing, showing], return_when=asyncio.FIRST_COMPLETED)
        if typing.done():
            typing.result()
        await showing
    finally:
        for task in (typing, showing):
            task.cancel()
        await asyncio.wait([typing, showing])


async def _type(conversation: Conversation, at_terminal: bool) -> None:
    while data := await keyboard.typed():
        await conversation.write(data)
    if at_terminal:
        raise ShellEndedError("the terminal is gone")
    await conversation.end_input()


async def _show(conversation: Conversation) -> None:
    outputs = {"stdout": Output(STDOUT), "stderr": Output(STDERR)}
    while (piece := await conversation.read()) is not None:
        stream, data = piece
        output = outputs[stream]
        await _written(output, data)
        if isinstance(output.lost, BrokenPipeError):
            raise output.lost
        if output.lost is not None:
            raise ShellEndedError(f"{stream} was lost: {os.strerror(output.lost.errno or 0)}")


async def _written(output: Output, data: bytes) -> None:
    """When the reader has taken it. Whoever stops waiting for one who takes nothing can end: no thread is waited for."""
    loop = asyncio.get_running_loop()
    written = asyncio.Event()

    def write() -> None:
        output.write(data)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(written.set)

    Thread(target=write, daemon=True).start()
    await written.wait()


@contextmanager
def _ended_by_signals() -> Iterator[list[int]]:
    """The first of the signals cancels this task; it is in what this gives then."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "it is awaited"
    taken: list[int] = []

    def struck(number: int) -> None:
        taken.append(number)
        if len(taken) == 1:
            task.cancel()

    heard = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, struck, number)
    try:
        yield taken
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
        if taken:
            task.uncancel()
