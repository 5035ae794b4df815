"""`runner logs ID [TASK]`: what tasks have printed."""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Sequence

from runner.cli import ids, plain
from runner.cli.follow import Follower, Lines
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument, positive
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.terminal import STDOUT, Output
from runner.cli.watch import NAMES
from runner.errors import UsageError
from runner.model.log import Stream
from runner.model.watch import Happening, LogChunk


def run(options: Namespace) -> int:
    if options.offset and options.stream is None:
        raise UsageError("--offset counts the bytes of one stream: give --stdout or --stderr with it")
    if options.task is None and (options.attempt or options.stream):
        raise UsageError("--attempt, --stdout and --stderr are about one task: name it behind the id")
    return with_groups(options, _logs)


async def _logs(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    stdout = Output(STDOUT)
    if options.task is None and options.output == "text":
        await _show_all(groups, id, stdout, follow=options.follow)
        return stdout.status(0)
    if options.task is None:
        chunks = _followed(groups, id) if options.follow else _kept(groups, id)
    else:
        chunks = groups.logs(
            id,
            options.task,
            attempt=options.attempt or 0,
            stream=options.stream,
            offset=options.offset,
            follow=options.follow,
        )
    await (_print_lines if options.output == "json" else _print_raw)(chunks, stdout)
    return stdout.status(0)


async def _show_all(groups: Groups, id: str, stdout: Output, *, follow: bool) -> None:
    names = list((await groups.result(id, limit=NAMES)).results)
    if follow:
        await Follower(names, stdout, events=False).show(groups.watch_in_batches(id))
        return
    for task in (await groups.result(id)).results.values():
        if task.attempts and stdout.lost is None:
            chunks = groups.logs(id, task.name, attempt=task.attempts)
            await Follower(names, stdout, events=False).show(_batched(chunks))


async def _kept(groups: Groups, id: str) -> AsyncIterator[LogChunk]:
    """Of all tasks, one after the other; of each its last attempt."""
    for task in (await groups.result(id)).results.values():
        if task.attempts:
            async for chunk in groups.logs(id, task.name, attempt=task.attempts):
                yield chunk


async def _followed(groups: Groups, id: str) -> AsyncIterator[LogChunk]:
    """Of all tasks and attempts, as it comes."""
    async for happenings in groups.watch_in_batches(id):
        for happening in happenings:
            if isinstance(happening, LogChunk):
                yield happening


async def _batched(chunks: AsyncIterator[LogChunk]) -> AsyncIterator[Sequence[Happening]]:
    async for chunk in chunks:
        yield [chunk]


async def _print_lines(chunks: AsyncIterator[LogChunk], stdout: Output) -> None:
    async for chunk in chunks:
        await asyncio.to_thread(stdout.print, plain.line(plain.chunk(chunk)))
        if stdout.lost is not None:
            return


async def _print_raw(chunks: AsyncIterator[LogChunk], stdout: Output) -> None:
    """As it is; on a terminal without what could move its cursor."""
    lines = Lines(b"") if os.isatty(STDOUT) else None
    ends: dict[Stream, int] = {}
    async for chunk in chunks:
        frame = chunk.frame
        missed = min(frame.missing, frame.offset - ends.get(frame.stream, 0))  # who follows may have seen some of it
        ends[frame.stream] = frame.offset + len(frame.data)
        if missed > 0:
            gap = f"… {missed:,} bytes of {frame.stream} are not kept …\n".encode()
            await asyncio.to_thread(stdout.write, (lines.rest(frame.stream) if lines else b"") + gap)
        await asyncio.to_thread(stdout.write, lines.feed(frame.stream, frame.data) if lines else frame.data)
        if stdout.lost is not None:
            return
    if lines is not None:
        stdout.write(lines.rest())


def _offset(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = "Print what a task has printed, byte for byte; without TASK what all tasks have, with their names before the lines."
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument("task", metavar="TASK", nargs="?", help="one task of it")
    parser.add_argument("--attempt", metavar="N", type=positive, help="which try at it (the last)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it is over")
    streams = parser.add_mutually_exclusive_group()
    for stream in ("stdout", "stderr"):
        streams.add_argument(
            f"--{stream}", dest="stream", action="store_const", const=stream, help=f"{stream} alone (both)"
        )
    parser.add_argument("--offset", metavar="BYTES", type=_offset, default=0, help="where in that stream to begin")
    add_output_argument(parser, "a line for each piece, with its place")
    add_place_arguments(parser)
