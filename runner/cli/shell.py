"""`runner shell ID TASK`: a terminal where a task runs or ran."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.cli import ids
from runner.cli.options import positive, settings_of
from runner.cli.place import add_place_arguments, chosen, with_node
from runner.cli.terminal import complain, visible
from runner.errors import StartError

if TYPE_CHECKING:
    from runner.client import AsyncClient
    from runner.model.shell import Shell, ShellRequest


def run(options: Namespace) -> int:
    """The exit status of what ran there."""
    try:
        if chosen(options) is None:
            import asyncio

            return asyncio.run(_here(options))
        return with_node(options, _there)
    except StartError as error:
        complain(error.message)
        return error.exit_code


async def _here(options: Namespace) -> int:
    from runner import node, visits
    from runner.runs.runs import Runs

    settings = settings_of(options)
    runs = Runs(settings.runs_dir, settings.key_file)
    id = await ids.resolve(runs, options.id)
    place = runs.place(id, options.task, options.attempt or 0)
    with visits.visit(settings.run_dir(id)):
        async with node.open_shells(settings) as shells, shells.opened(place, _request(options, here=True)) as shell:
            return await _converse(shell)


async def _there(client: AsyncClient, options: Namespace) -> int:
    from runner.client import shelling

    id = await ids.resolve(client, options.id)
    async with shelling.opened(client, id, _request(options, here=False)) as shell:
        return await _converse(shell)


def _request(options: Namespace, *, here: bool) -> ShellRequest:
    from runner.cli import keyboard
    from runner.config.terminal import load_shell_settings
    from runner.model.shell import ShellRequest

    own = load_shell_settings()
    at_terminal = keyboard.is_terminal()
    command: Sequence[str] = options.command
    return ShellRequest(
        task=options.task,
        attempt=options.attempt or 0,
        command=tuple(command) or ((own.program,) if here and own.program else ()),
        secrets=options.secrets,
        size=keyboard.size() if at_terminal else None,
        term=own.term,
    )


async def _converse(shell: Shell) -> int:
    from runner.cli import conversing, keyboard

    if shell.withheld:
        names = ", ".join(map(visible, shell.withheld))
        complain(f"not in this environment, for it is confidential: {names} (--secrets gives it)")
    return await conversing.converse(shell.conversation, at_terminal=keyboard.is_terminal())


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "runner shell [option ...] ID TASK [-- COMMAND ...]"
    parser.description = (
        "A terminal where a task runs or ran: in its folder of the group's workspace, with its environment, user and limits. What runs is left "
        "alone, and all that was started in the shell ends with it. Where stdin is no terminal it is read as it is, and stdout and stderr stay "
        "apart. The exit status is the command's. Without a node, it is what `runner run` has kept here."
    )
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument("task", metavar="TASK", help="a task of it that runs or ran")
    parser.add_argument(
        "command",
        metavar="COMMAND",
        nargs="*",
        default=[],
        help="behind `--`: what to run in place of a shell ($SHELL, on a node sh)",
    )
    parser.add_argument("--attempt", metavar="N", type=positive, help="as which try at it (the last)")
    parser.add_argument(
        "--secrets",
        action="store_true",
        help="with what is confidential of its environment and files, which else is left out",
    )
    add_place_arguments(parser)
