"""Reads the command line, runs one command, and turns whatever happens into one message and an exit status."""

from __future__ import annotations

import gc
import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from importlib import import_module

from runner import __version__
from runner.cli.details import Details
from runner.cli.faults import refusal
from runner.cli.parsing import Parser
from runner.cli.terminal import complain, secure_standard_streams
from runner.errors import (
    DocumentError,
    GroupExistsError,
    GroupNotFoundError,
    NoShellError,
    RunnerError,
    StateLockedError,
    UsageError,
)

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
REFUSALS = (UsageError, GroupExistsError, GroupNotFoundError, NoShellError, StateLockedError)
"""What whoever gave the command has to change, and not to repeat."""

_TRACEBACK = "Traceback (most recent call last):"

COMMANDS = {
    "run": "run a task group here and show it",
    "submit": "have a node carry out a task group",
    "rerun": "do a group that is over again, without what was successful",
    "ls": "list the groups of a node, or the runs that are kept here",
    "get": "tell what has become of a group so far",
    "explain": "tell why a group, or a task of it, is as it is",
    "watch": "show a group from its beginning to its end",
    "logs": "print what its tasks have printed",
    "events": "print the numbered facts about it",
    "cancel": "end it early",
    "rm": "remove groups that are over, with their logs",
    "shell": "open a terminal where a task of it runs or ran",
    "signal": "pause a running task of it, let it go on, or kill it",
    "info": "tell what a node is, can do and has to do",
    "context": "keep nodes under names",
    "validate": "say everything that is wrong with task groups",
    "fmt": "bring task groups into their canonical form",
    "graph": "draw what waits for what in a task group",
    "driver": "show the task types that a runner has, and what their specs may say",
    "schema": "print the JSON Schema of task groups, by which editors help to write them",
    "completion": "print what a shell reads to complete commands, options, tasks and inputs",
    "serve": "be a node, which others submit task groups to",
    "config": "check the configuration of a node",
    "token": "make, show and revoke the tokens by which callers prove to a node who they are",
    "certs": "make a private certificate authority, and certificates for nodes and their callers",
    "backup": "copy a state directory into a file, also while a node works on it",
    "secrets": "put a new sealing key in the place of the old one",
    "restore": "make a state directory of a backup",
    "supervisor": "serve the processes of a state directory's tasks, so that they outlive restarts of the runner",
}
"""Each is a module of this package with `run(options)` and `add_arguments(parser)`, imported when it is asked for."""


COMPLETE = "__complete"
"""What the scripts of `runner completion` call."""


def run_command(arguments: list[str]) -> int:
    """Run the command; its exit status. Raises nothing but SystemExit (from argparse)."""
    secure_standard_streams()
    if arguments[:1] == [COMPLETE]:
        return _complete(arguments[1:])
    details = Details(Namespace())
    logging.basicConfig(handlers=[_Complaints(details)])
    try:
        return _parse_and_run(arguments, details)
    except KeyboardInterrupt:
        return INTERRUPTED
    except DocumentError as error:
        complain(refusal(error))
        return REFUSED
    except REFUSALS as error:
        complain(error.message)
        return REFUSED
    except RunnerError as error:
        complain(error.message)
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}; {details.keep(error)}")
        return FAILED
    except Exception as error:  # noqa: BLE001 (the last line of defence: no traceback reaches a person)
        complain(f"an error inside the runner ({type(error).__name__}), please report it; {details.keep(error)}")
        return FAILED
    finally:
        _flush_quietly()


def _complete(arguments: list[str]) -> int:
    from runner.cli.completing import complete

    try:
        return complete(arguments, parser_of)
    except Exception:  # noqa: BLE001 (whoever writes a command is not told what went wrong with helping them)
        return FAILED


def parser_of(arguments: list[str]) -> ArgumentParser:
    """The parser for a line that begins with these words: it has the arguments of no other command."""
    parser = Parser(
        prog="runner",
        description="Runs groups of tasks.",
        epilog="runner COMMAND --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"runner {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    # Who begins with a command does not ask which others there are, and all of them take longer than most imports.
    alone = [name for name in COMMANDS if arguments[:1] == [name]]
    for name in alone or COMMANDS:
        command = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name])
        if name == wanted:
            module = import_module(f"runner.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _parse_and_run(arguments: list[str], details: Details) -> int:
    own, behind = _parted(arguments)
    options: Namespace = parser_of(own).parse_args(own)
    if behind:
        options.command = behind
    details.options = options
    gc.freeze()
    gc.enable()
    with redirect_stdout(
        sys.stderr
    ):  # what a plugin prints must not be taken for what is ours, which goes to the descriptor
        status: int = options.run(options)
    return status


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is said to us, and what is the command line of another program."""
    if arguments[:1] == ["shell"] and "--" in arguments:
        at = arguments.index("--")
        return arguments[:at], arguments[at + 1 :]
    return arguments, []


class _Complaints(logging.Handler):
    """What the runner's modules log: one line for the person, all of it for the file where there is more."""

    def __init__(self, details: Details) -> None:
        super().__init__(logging.WARNING)
        self._details = details

    def emit(self, record: logging.LogRecord) -> None:
        first, *more = record.getMessage().splitlines() or [""]
        if record.exc_info and record.exc_info[1]:
            # The text of an unforeseen error may quote what nobody should see: it stays in the file.
            complain(f"{first} ({type(record.exc_info[1]).__name__}); {self._details.keep(record.exc_info[1])}")
        elif more:
            complain(f"{first.removesuffix(_TRACEBACK)}{more[-1]}; {self._details.keep(record.getMessage())}")
        else:
            complain(first)


def _flush_quietly() -> None:
    """What argparse printed may meet a reader that is gone; the interpreter would complain about it at its end."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
