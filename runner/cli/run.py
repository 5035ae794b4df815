"""`runner run FILE`: carry a task group out here, now, and show it."""

from __future__ import annotations

import asyncio
import os
import secrets
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from runner import history, workspace
from runner import node as nodes
from runner.cli import ending, given, outcome
from runner.cli.document import read_document
from runner.cli.inputs import add_input_arguments, check_standard_input, read_inputs
from runner.cli.interrupts import INTERRUPTED, Interrupts
from runner.cli.options import filled, filled_path, positive, settings_of
from runner.cli.report import headline
from runner.cli.tails import Tails
from runner.cli.terminal import STDERR, STDOUT, Output, complain
from runner.cli.tidying import Tidying
from runner.cli.view import Nothing, Shown, add_progress_argument, is_live, opened
from runner.config import Settings
from runner.errors import UsageError
from runner.model.group import TaskGroup
from runner.model.result import Reason, Status
from runner.removal import remove_tree
from runner.validation.forwarding import without_peers

CALLER = "local"

MakeInterrupts = Callable[[Callable[[], None]], Interrupts]
"""Of what removes what must not stay behind when the command leaves at once."""


def run(options: Namespace) -> int:
    if options.watch or options.watch_path:
        from runner.cli import onchange  # not for those who run once

        onchange.check(options)
        return onchange.Rounds(partial(run_once, options), options).run()
    return run_once(options)


def run_once(options: Namespace, interrupts: MakeInterrupts = Interrupts) -> int:
    settings = settings_of(options)
    check_standard_input(options)
    loaded = read_document(options.file, nodes.registry(settings), without_peers)
    for warning in loaded.warnings:
        complain(str(warning))
    group = given.changed(loaded.group, options)
    inputs = read_inputs(group.inputs, options.set, options.set_secret, options.input_file)
    group = replace(group, id=options.id or (None if options.watch or options.watch_path else group.id))
    if options.dry_run:
        from runner.cli import dryrun  # not for those who mean it

        return dryrun.show(group, inputs, settings, options)
    group = replace(group, id=group.id or secrets.token_hex(8))
    folder = None if options.isolated else workspace.current()
    assert group.id is not None
    with new_run_dir(settings, group.id) as run_dir:
        # In the run's own folder a run that is taken up again finds it, and none that was killed leaves one elsewhere.
        folder = folder or run_dir / "workspace"
        title = headline(group.name, len(group.tasks), group.id)
        begin = partial(_begin, group, inputs, settings)
        shown = Shown.of(group.tasks)
        return ending.run(carry_out(begin, title, shown, folder, run_dir, settings, options, interrupts))


def _begin(group: TaskGroup, inputs: Mapping[str, str], settings: Settings, node: nodes.Node, workspace: str) -> str:
    return node.engine.submit(group, inputs, caller=CALLER, workspace=workspace, traceparent=settings.traceparent)


@contextmanager
def new_run_dir(settings: Settings, id: str) -> Iterator[Path]:
    """The folder of this group; removed again where the group was refused before it was ever accepted."""
    folder = settings.run_dir(id)
    fresh = not os.path.exists(folder)  # which, unlike Path.exists, may be asked about folders of others
    try:
        yield folder
    except UsageError:
        if fresh:
            remove_tree(folder)
        raise


def _tidy(settings: Settings) -> None:
    history.prune(settings.runs_dir, keep_days=settings.keep_days, keep_runs=settings.keep_runs)


class Begin(Protocol):
    def __call__(self, node: nodes.Node, workspace: str) -> str:
        """Submit a group to the node; its id."""


async def carry_out(
    begin: Begin,
    title: str,
    shown: Shown,
    folder: Path,
    run_dir: Path,
    settings: Settings,
    options: Namespace,
    make_interrupts: MakeInterrupts = Interrupts,
) -> int:
    """Run what is begun to its end in the folder `run_dir` and show it; the exit status. Of the options it wants `output`, `reveal`,
    `quiet`, `progress`, `isolated`, `keep_workspace` and `state_dir`."""
    machine = options.output == "json"
    stdout = Output(STDOUT)
    story = Output(STDERR) if machine else stdout
    live = not options.quiet and is_live(options.progress, story.descriptor, machine=machine)
    tails = Tails()

    def leave() -> None:
        remove_tree(settings.temp_dir(run_dir))
        if options.isolated and not options.keep_workspace:
            remove_tree(folder)

    with make_interrupts(leave) as interrupts:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(nodes.open_run_node(run_dir, settings))
            if options.isolated:
                stack.enter_context(workspace.isolated(folder, keep=options.keep_workspace))
            id = begin(node, str(folder))
            interrupts.cancels(lambda: node.engine.cancel(id))
            stack.enter_context(Tidying(partial(_tidy, settings)))
            if options.quiet:
                await Nothing(tails).show(node.watch(id))
            else:
                await asyncio.to_thread(story.print, title)
                view = await opened(shown, story, tails, live=live)
                await view.show(node.watch(id))
            result = node.engine.unwritten_end(id) or node.engine.result(id)
        place = _place(options) if result.status is not Status.SUCCESS else ""
        text = outcome.closed(result, tails, place, machine=machine, reveal=options.reveal)
        await asyncio.to_thread(stdout.print, text if machine or options.quiet else f"\n{text}")
        if options.isolated and options.keep_workspace:
            complain(f"the workspace is kept: {folder}")
        if result.reason == Reason.STATE_NOT_WRITTEN:
            complain(f"what became of the run was not written down; --id {id} takes it up from what was")
        if stdout.lost is not None:
            complain(f"standard output was lost ({stdout.lost.strerror}); what the tasks printed is in {run_dir}")
    if interrupts.count and result.status is Status.ABORTED:
        return INTERRUPTED
    return stdout.status(outcome.status(result))


def _place(options: Namespace) -> str:
    from runner.cli.place import found_here  # of use to those alone whose run failed

    return found_here(options)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the task group, YAML or JSON; - for standard input")
    add_input_arguments(parser)
    given.add_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would run, in which order and with what, and start nothing"
    )
    parser.add_argument(
        "--watch", action="store_true", help="run again when the document, or a file that was named with it, changes"
    )
    parser.add_argument(
        "--watch-path", metavar="PATTERN", action="append", default=[], type=filled,
        help="and when a file changes that this names, e.g. 'src/**/*.py'; may be repeated",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="show nothing but the result")
    add_progress_argument(parser)
    parser.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: the result alone on stdout, logs on stderr"
    )
    parser.add_argument("--reveal", action="store_true", help="show confidential outputs in the result")
    parser.add_argument(
        "--isolated", action="store_true", help="work in a fresh folder, removed afterwards, not in the current one"
    )
    parser.add_argument(
        "--keep-workspace", action="store_true", help="with --isolated: leave the folder there, and say where it is"
    )
    parser.add_argument(
        "--max-parallel", metavar="N", type=positive, help="how many tasks may run at once (default: 4 a core)"
    )
    parser.add_argument(
        "--id", metavar="ID", help="name this run; the same id again goes on with a run that was killed"
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", type=filled_path, help="where runs are kept (default: ~/.local/state/runner)"
    )
