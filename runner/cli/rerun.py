"""`runner rerun ID`: do a group that is over again, without what was successful."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli import ending, ids, plain
from runner.cli.options import add_output_argument, add_workspace_arguments, filled, settings_of
from runner.cli.place import add_place_arguments, chosen, with_node
from runner.cli.terminal import STDOUT, Output, complain
from runner.cli.view import add_progress_argument
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner import node as nodes
    from runner.client import AsyncClient


def run(options: Namespace) -> int:
    if chosen(options) is not None:
        return with_node(options, _on_node)
    if options.workspace is not None:
        raise UsageError("--workspace sends a folder to a node; here the tasks work in the current one: change to it")
    return _here(options)


def _here(options: Namespace) -> int:
    from runner import workspace
    from runner.cli.here import CALLER, carry_out, new_run_dir
    from runner.cli.report import headline
    from runner.cli.view import Outlets, Shown
    from runner.runs.runs import Runs

    settings = settings_of(options)
    runs = Runs(settings.runs_dir, settings.key_file)
    former = asyncio.run(ids.resolve(runs, options.id))
    new_id = options.new_id or secrets.token_hex(8)
    again = runs.again(former, new_id, options.beginning)
    folder = workspace.current()
    if (before := runs.workspace_of(former)) != str(folder):
        complain(f"{former} worked in {before}, and this works in {folder}")
    source = runs.source(former)
    if source is not None and (changed := runs.changed(source)) is not None:
        complain(
            f"{changed} has changed since {former}, whose document is done again as it was; "
            f"`runner run {shlex.quote(changed)}` runs what it says now, with the inputs that you give it"
        )

    def begin(node: nodes.Node, workspace: str) -> str:
        accepted = node.engine.accept(
            again.submission, caller=CALLER, workspace=workspace, traceparent=settings.traceparent
        )
        if source is not None:
            source.keep(run_dir)
        return accepted.id

    tasks = {task.name: task for task in again.submission.group.tasks}
    shown = Shown.of([tasks[name] for name in again.tasks])
    title = headline(again.submission.group.name, len(again.tasks), new_id)
    title += f"; {len(again.submission.kept)} of {former} are taken over"
    options.isolated = options.keep_workspace = options.quiet = False
    outlets = Outlets.of(options, title)
    outlets.begin()
    with new_run_dir(settings, new_id) as run_dir:
        return ending.run(carry_out(begin, shown, outlets, folder, run_dir, settings, options))


async def _on_node(client: AsyncClient, options: Namespace) -> int:
    from runner.cli.interrupts import Interrupts
    from runner.cli.submit import WORDS, follow, is_followed_live, tell_existed

    live = options.follow and is_followed_live(options)
    id = await ids.resolve(client, options.id)
    workspace_id = ""
    if options.workspace is not None:
        workspace_id = (await client.upload_workspace(options.workspace, exclude=options.exclude)).workspace_id
    answer = await client.rerun(id, options.beginning, new_id=options.new_id, workspace_id=workspace_id)
    if answer.existed and options.new_id:
        tell_existed(answer.id)
    if options.follow:
        with Interrupts(lambda: None, WORDS) as interrupts:
            return await follow(client, answer.id, interrupts, options, live=live)
    stdout = Output(STDOUT)
    told = {"id": answer.id, "existed": answer.existed, "tasks": answer.tasks, "kept": answer.kept}
    stdout.print(plain.line(told) if options.output == "json" else answer.id)
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Do a group that is over again, as a new one with the same document and inputs: what was successful is taken over with "
        "its outputs, the rest runs, and with it all that depends on it. The former group stays as it is, with its attempts and logs. "
        "A document that has changed since is not read again: `runner run` does."
    )
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--failed", action="store_true", help="from all that did not succeed, unless it was allowed to (the default)"
    )
    which.add_argument(
        "--from", dest="beginning", metavar="TASK", action="append", default=[], type=filled,
        help="from this task on, whatever became of it; may be repeated",
    )  # fmt: skip
    parser.add_argument("--id", dest="new_id", metavar="ID", type=filled, help="name the new group")
    parser.add_argument("--follow", action="store_true", help="on a node: show it to its end, as is done here anyway")
    add_progress_argument(parser)
    parser.add_argument("--reveal", action="store_true", help="show confidential outputs in the result")
    add_workspace_arguments(parser)
    add_output_argument(
        parser, "the result alone, logs on stderr; on a node without --follow the new id, and how much runs again"
    )
    add_place_arguments(parser)
