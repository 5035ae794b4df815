"""A group that this process carries out itself, with a node of its own, and shows. What it takes is imported once the first line of it
stands on the screen."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from runner import history, workspace
from runner import node as nodes
from runner.cli import outcome
from runner.cli.interrupts import INTERRUPTED, Interrupts
from runner.cli.tails import Tails
from runner.cli.terminal import complain
from runner.cli.tidying import Tidying
from runner.cli.view import Nothing, Outlets, Shown, View, opened
from runner.config import Settings
from runner.errors import GroupNotFoundError, UsageError
from runner.model.result import Reason, Status
from runner.model.watch import Happening
from runner.removal import remove_tree

CALLER = "local"

MakeInterrupts = Callable[[Callable[[], None]], Interrupts]
"""Of what removes what must not stay behind when the command leaves at once."""


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


def _end_visits(run_dir: Path) -> None:
    from runner import visits  # of use to few

    visits.end(run_dir)


def _tidy(settings: Settings) -> None:
    history.prune(settings.runs_dir, keep_days=settings.keep_days, keep_runs=settings.keep_runs)


def _cancel(node: nodes.Node, id: str, interrupts: Interrupts, run_dir: Path) -> None:
    from runner.runs import interrupted  # of use to those alone who end it early

    head = node.store.head(id)
    # What is ended already was ended by something else.
    if interrupts.first is not None and head is not None and head.group.abort is None:
        interrupted.note(run_dir, interrupts.first)
    node.engine.cancel(id)


class Begin(Protocol):
    def __call__(self, node: nodes.Node, workspace: str) -> str:
        """Submit a group to the node; its id."""


async def carry_out(
    begin: Begin,
    shown: Shown,
    outlets: Outlets,
    folder: Path,
    run_dir: Path,
    settings: Settings,
    options: Namespace,
    make_interrupts: MakeInterrupts | None = None,
) -> int:
    """Run what is begun to its end in the folder `run_dir` and show it; the exit status. Of the options it wants `reveal`,
    `isolated`, `keep_workspace` and `state_dir`."""
    machine, stdout = outlets.machine, outlets.result
    tails = Tails()

    def leave() -> None:
        remove_tree(settings.temp_dir(run_dir))
        if options.isolated and not options.keep_workspace:
            remove_tree(folder)

    with (make_interrupts or Interrupts)(leave) as interrupts:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(nodes.open_run_node(run_dir, settings))
            if options.isolated:
                stack.enter_context(workspace.isolated(folder, keep=options.keep_workspace))
                if not options.keep_workspace:
                    stack.callback(_end_visits, run_dir)
            former = node.store.head(run_dir.name)
            id = begin(node, str(folder))
            if former is not None and former.group.status.terminal:
                complain(
                    f"{id} was over before ({former.group.status}): this is what it did then, and nothing runs anew; `runner rerun {id}` does it again, another --id too"
                )
            interrupts.cancels(partial(_cancel, node, id, interrupts, run_dir))
            stack.enter_context(Tidying(partial(_tidy, settings)))
            await asyncio.to_thread(outlets.accepted)
            view: View = Nothing(tails)
            if not outlets.quiet:
                view = await opened(shown, outlets.story, tails, live=outlets.live)
            await view.show(_story(stack, node, id, run_dir, options, view))
            result = node.engine.unwritten_end(id) or node.engine.result(id)
        place = _place(options) if result.status is not Status.SUCCESS else ""
        text = outcome.closed(result, tails, place, stdout, machine=machine, reveal=options.reveal)
        await asyncio.to_thread(stdout.print, text if machine or outlets.quiet else f"\n{text}")
        if options.isolated and options.keep_workspace:
            complain(f"the workspace is kept: {folder}")
        if result.reason == Reason.STATE_NOT_WRITTEN:
            complain(f"what became of the run was not written down; --id {id} takes it up from what was")
        if stdout.lost is not None:
            complain(f"standard output was lost ({stdout.lost.strerror}); what the tasks printed is in {run_dir}")
    if interrupts.count and result.status is Status.ABORTED:
        return INTERRUPTED
    return stdout.status(outcome.status(result))


def _story(
    stack: AsyncExitStack, node: nodes.Node, id: str, run_dir: Path, options: Namespace, view: View
) -> AsyncIterator[Sequence[Happening]]:
    """That of the group; who sees it is asked what follows where it stands still."""
    head = node.store.head(id)
    if head is None or not head.group.pause_on_failure:
        return node.watch(id)
    from runner.cli.standstill import Answers, Standstill

    def decide(task: str, decision: str) -> None:
        with suppress(GroupNotFoundError):  # whoever asked for it from beside has been told
            node.engine.signal(id, task, decision)

    answers = Answers(decide, lambda: node.engine.cancel(id), run_dir)
    standstill = Standstill(id, _place(options), answers, view.typed)
    stack.enter_context(standstill.attended())
    return standstill.tapped(node.watch(id))


def _place(options: Namespace) -> str:
    from runner.cli.place import found_here  # of use to those alone whose run failed

    return found_here(options)
