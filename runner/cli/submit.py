"""`runner submit FILE`: have a node carry a task group out."""

from __future__ import annotations

import asyncio
import secrets
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from runner.cli import outcome, plain
from runner.cli.document import read_file, source_name
from runner.cli.inputs import add_input_arguments, check_standard_input, read_inputs
from runner.cli.interrupts import INTERRUPTED, Interrupts
from runner.cli.options import add_output_argument, add_pause_argument, add_workspace_arguments, label
from runner.cli.place import add_place_arguments, found_again, with_node
from runner.cli.standstill import Answers, Standstill
from runner.cli.tails import Tails
from runner.cli.terminal import STDERR, STDOUT, Output, complain
from runner.cli.view import add_progress_argument, is_live
from runner.cli.watch import show
from runner.errors import RunnerError, UnavailableError, UnreachableError
from runner.model import document, parse
from runner.model.fault import Faults
from runner.model.group import Input, TaskGroup
from runner.model.limits import Limits
from runner.model.result import Status

if TYPE_CHECKING:
    from runner.client import AsyncClient, Submission

WORDS = (
    ("cancelling: running tasks are asked to end, clean-up still runs", "once more ends clean-up too"),
    ("cancelling without clean-up", "once more leaves, and the node goes on ending it"),
)


def run(options: Namespace) -> int:
    check_standard_input(options)
    return with_node(options, _submit)


async def _submit(client: AsyncClient, options: Namespace) -> int:
    raw = read_file(options.file)
    inputs = _inputs(raw, options)
    if not options.follow:
        submission = await _submitted(client, raw, inputs, options)
        stdout = Output(STDOUT)
        stdout.print(plain.line(_plain(submission)) if options.output == "json" else submission.id)
        return stdout.status(0)
    live = is_followed_live(options)
    submission = await _submitted(client, raw, inputs, options)
    with Interrupts(lambda: None, WORDS) as interrupts:
        return await follow(client, submission.id, interrupts, options, live=live)


def is_followed_live(options: Namespace) -> bool:
    """To be asked before anything is submitted. Raises UsageError."""
    machine = options.output == "json"
    return is_live(options.progress, STDERR if machine else STDOUT, machine=machine)


async def _submitted(client: AsyncClient, raw: bytes, inputs: Mapping[str, str], options: Namespace) -> Submission:
    workspace_id = ""
    if options.workspace is not None:
        workspace_id = (await client.upload_workspace(options.workspace, exclude=options.exclude)).workspace_id
    spare_id = secrets.token_hex(8)
    try:
        submission = await client.submit(
            raw,
            spare_id=spare_id,
            source=source_name(options.file),
            inputs=inputs,
            id=options.id,
            labels=dict(options.label),
            workspace_id=workspace_id,
            pause_on_failure=options.pause_on_failure,
        )
    except asyncio.CancelledError:
        complain("interrupted; the node may have accepted it all the same: `runner ls` tells")
        raise
    except (UnavailableError, UnreachableError) as error:
        if not (isinstance(error, UnreachableError) and error.final):
            complain(_again(raw, options.id, spare_id))
        raise
    for warning in submission.warnings:
        complain(str(warning))
    if submission.existed and submission.id != spare_id:
        tell_existed(submission.id)
    return submission


def tell_existed(id: str) -> None:
    """Of a group for which somebody has chosen the id: of others a repetition is none of theirs."""
    complain(
        f"{id} was submitted before: it is the same group, and nothing of it begins anew; another --id makes another one"
    )


async def follow(client: AsyncClient, id: str, interrupts: Interrupts, options: Namespace, *, live: bool) -> int:
    """Show the group to its end, as `runner run` does; the exit status."""
    machine = options.output == "json"
    stdout = Output(STDOUT)
    tails = Tails()
    failure: RunnerError | None = None
    async with asyncio.TaskGroup() as cancels:
        interrupts.cancels(lambda: _begun(cancels, client, id, interrupts))
        try:
            answers = Answers(
                lambda task, decision: cancels.create_task(_decide(client, id, task, decision)),
                lambda: cancels.create_task(_cancel(client, id, at_once=False)),
            )
            standstill = partial(Standstill, id, found_again(options), answers)
            await show(client, id, Output(STDERR) if machine else stdout, tails, standstill, live=live)
            result = await client.result(id, reveal=options.reveal)
        except RunnerError as error:
            failure = error
        interrupts.cancels(lambda: None)  # there is nothing left to cancel
    if failure is not None:
        raise failure
    text = outcome.closed(result, tails, found_again(options), stdout, machine=machine, reveal=options.reveal)
    await asyncio.to_thread(stdout.print, text if machine else f"\n{text}")
    if stdout.lost is not None:
        complain(f"standard output was lost ({stdout.lost.strerror}); `runner watch {id}` shows all of it")
    if interrupts.count and result.status is Status.ABORTED:
        return INTERRUPTED
    return stdout.status(outcome.status(result))


def _begun(cancels: asyncio.TaskGroup, client: AsyncClient, id: str, interrupts: Interrupts) -> None:
    cancels.create_task(_cancel(client, id, at_once=interrupts.count > 1))


async def _cancel(client: AsyncClient, id: str, *, at_once: bool) -> None:
    try:
        await client.cancel(id, at_once=at_once)
    except RunnerError as error:
        complain(f"{id} could not be cancelled: {error.message}")


async def _decide(client: AsyncClient, id: str, task: str, decision: str) -> None:
    try:
        await client.signal(id, task, decision)
    except RunnerError as error:
        complain(f"{id}: {error.message}")


def _again(raw: bytes, id: str | None, spare_id: str) -> str:
    """What to do about a submission that was not answered, and may have been accepted all the same."""
    group = _read(raw)
    known = id or (group and group.id)
    named = "" if known else f" with --id {spare_id}"
    return f"the node may have accepted it all the same: the same command{named} makes no second group of it"


def _inputs(raw: bytes, options: Namespace) -> Mapping[str, str]:
    """A secret for an input that the document does not keep secret would be told to everybody: it is looked at before anything
    is sent."""
    return read_inputs(
        _declared(raw) if options.set_secret else (), options.set, options.set_secret, options.input_file
    )


def _declared(raw: bytes) -> Sequence[Input]:
    """The inputs of the document, as far as it can be read; the node tells what is wrong with it."""
    group = _read(raw)
    return group.inputs if group else ()


def _read(raw: bytes) -> TaskGroup | None:
    """The document, as far as it can be read."""
    limits = Limits()
    read = document.read(raw, source="", limits=limits)
    if read.data is None:
        return None
    return parse.parse(read.data, Faults(limits.faults), _Unchecked(), complete=False, limits=limits).group


class _Unchecked:
    """Implements runner.model.parse.Checks: the node knows its task types."""

    def check_spec(self, faults: Faults, path: object, task: object, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        del faults, path, task
        return spec


def _plain(submission: Submission) -> dict[str, Any]:
    warnings = [fault.as_json() for fault in submission.warnings]
    return {"id": submission.id, "existed": submission.existed, "warnings": warnings}


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Have a node carry a task group out, and print its id. With --follow it is shown as `runner run` shows it, and the exit "
        "status is the same: the first Ctrl-C cancels the group, the second its clean-up too, the third leaves it to the node. "
        "To look on without that, submit without --follow and `runner watch` it."
    )
    parser.add_argument("file", metavar="FILE", help="the task group, YAML or JSON; - for standard input")
    add_input_arguments(parser)
    add_workspace_arguments(parser)
    parser.add_argument("--id", metavar="ID", help="name the group; the same again is the same group, and runs once")
    parser.add_argument(
        "--label", metavar="KEY=VALUE", action="append", default=[], type=label, help="label the group; may be repeated"
    )
    add_pause_argument(parser)
    parser.add_argument("--follow", action="store_true", help="show it to its end")
    add_progress_argument(parser, "with --follow: ")
    parser.add_argument("--reveal", action="store_true", help="with --follow: show confidential outputs in the result")
    add_output_argument(parser, "its id and warnings; with --follow the result alone, and logs on stderr")
    add_place_arguments(parser, node_only=True)
