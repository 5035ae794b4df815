"""Which place a command asks: a node that is named on the command line, in the environment or by a context, else what `runner run`
has kept on this machine."""

from __future__ import annotations

import asyncio
import shlex
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.cli.groups import Groups
from runner.cli.options import filled, filled_path, settings_of
from runner.cli.terminal import complain
from runner.config import contexts, machine
from runner.config.client import ClientSettings, load_client_settings
from runner.config.service import SOCKET_NAME
from runner.errors import RunnerError, UnauthenticatedError, UsageError
from runner.model.endpoint import Endpoint
from runner.model.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.client import AsyncClient

LOCAL = "local"
"""The node of this user on this machine."""

PARTS = ("ca", "certificate", "key", "server_name", "token_file")
"""Of an endpoint, as options."""


def with_groups(options: Namespace, work: Callable[[Groups, Namespace], Awaitable[int]]) -> int:
    """The exit status of what is done with the place that `options` mean."""

    async def run() -> int:
        async with open_groups(options) as groups:
            return await work(groups, options)

    return asyncio.run(run())


def with_node(options: Namespace, work: Callable[[AsyncClient, Namespace], Awaitable[int]]) -> int:
    """As `with_groups`, where only a node will do."""

    async def run() -> int:
        endpoint = chosen(options)
        if endpoint is None:
            raise UsageError(
                "no node is named: give --to host:port, unix:/path or local, or keep one with `runner context add`; "
                "`runner run` runs a group here, without any"
            )
        async with _open_node(endpoint, options) as client:
            return await work(client, options)

    return asyncio.run(run())


@asynccontextmanager
async def open_groups(options: Namespace) -> AsyncIterator[Groups]:
    endpoint = chosen(options)
    if endpoint is not None:
        async with _open_node(endpoint, options) as client:
            yield client
    else:
        from runner.runs.runs import Runs

        settings = settings_of(options)
        yield Runs(settings.runs_dir, settings.key_file)


def chosen(options: Namespace) -> Endpoint | None:
    """The node that is meant; None where it is what was kept here. Raises UsageError."""
    given = load_client_settings()
    named = [name for name in ("to", "context", "here") if getattr(options, name)]
    if len(named) > 1:
        raise UsageError(f"--{named[0]} and --{named[1]} name two places: give one of them")
    parts = {part: getattr(options, part) for part in PARTS if getattr(options, part)}
    if options.insecure:
        parts["insecure"] = True
    if parts and not options.to:
        raise UsageError(f"--{next(iter(parts)).replace('_', '-')} says how to speak with --to: give both")
    if options.to:
        return _with_token(Endpoint(target=_target(options.to, options), **parts), given)
    if options.context:
        return _with_token(contexts.load(given.contexts_file).named(options.context), given)
    if options.here or (options.state_dir and not options.node_only):
        return None
    if given.to:
        return _with_token(Endpoint(target=_target(given.to, options)), given)
    known = contexts.load(given.contexts_file)
    name = given.context or known.current
    return None if name is None else _with_token(known.named(name), given)


def found_again(options: Namespace) -> str:
    """What another command of the same person needs on its line to find the same place, with a space before it."""
    given: list[tuple[str, object]] = [
        ("--to", options.to),
        ("--context", options.context),
        ("--state-dir", options.state_dir),
    ]
    given += [(f"--{part.replace('_', '-')}", getattr(options, part)) for part in PARTS]
    words = [f" {option} {shlex.quote(str(value))}" for option, value in given if value]
    return "".join([*words, " --insecure" * options.insecure, " --here" * options.here])


def found_here(options: Namespace) -> str:
    """The same, for what `runner run` keeps here."""
    if options.state_dir:
        return f" --state-dir {shlex.quote(str(options.state_dir))}"
    try:
        given = load_client_settings()
        is_elsewhere = bool(given.to or given.context or contexts.load(given.contexts_file).current)
    except RunnerError:
        is_elsewhere = True
    return " --here" if is_elsewhere else ""


def _target(text: str, options: Namespace) -> str:
    return f"unix:{settings_of(options).state_dir / SOCKET_NAME}" if text == LOCAL else text


def _with_token(endpoint: Endpoint, given: ClientSettings) -> Endpoint:
    """The token of the environment is for a node that has none of its own."""
    if endpoint.token is None and endpoint.token_file is None:
        if given.token and given.token_file:
            raise UsageError("RUNNER_TOKEN and RUNNER_TOKEN_FILE are two tokens: set one of them")
        endpoint = replace(endpoint, token=given.token or None, token_file=given.token_file or None)
    return endpoint.checked()


@asynccontextmanager
async def _open_node(endpoint: Endpoint, options: Namespace) -> AsyncIterator[AsyncClient]:
    machine.silence_grpc()
    from runner.client import AsyncClient

    with _advice(endpoint):
        async with AsyncClient(endpoint, on_wait=_Notices(options).tell) as client:
            yield client


class _Notices:
    """Says what a command waits for, each thing once; and first of all why it asks that node, where its line does not name it."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._told = ""

    def tell(self, error: RunnerError, seconds: float) -> None:
        if error.message != self._told:
            if not self._told and (unsaid := _unsaid(self._options)):
                complain(unsaid)
            self._told = error.message
            again = f"tried again in {duration(seconds)}" if seconds > 1 else "trying again"
            complain(f"{error.message} ({again})")


def _unsaid(options: Namespace) -> str:
    """What has named the node, and how one does without; empty where the command line names it, and where only a node will do."""
    if options.to or options.context or options.node_only:
        return ""
    given = load_client_settings()
    by = "RUNNER_TO" if given.to else "RUNNER_CONTEXT" if given.context else "the current context (`runner context ls`)"
    return f"{by} names the node that is asked; --here asks what `runner run` has kept on this machine"


@contextmanager
def _advice(endpoint: Endpoint) -> Iterator[None]:
    """Where a command is told who one is, when a node does not know."""
    try:
        yield
    except UnauthenticatedError as error:
        if endpoint.token is None and endpoint.token_file is None and endpoint.certificate is None:
            how = "; a token is given by RUNNER_TOKEN or --token-file, a certificate by --certificate and --key"
        else:
            how = ""
        raise UnauthenticatedError(f"{endpoint.target}: {error.message}{how}") from error


def add_place_arguments(parser: ArgumentParser, *, node_only: bool = False) -> None:
    group = parser.add_argument_group(
        "where",
        "RUNNER_TO, RUNNER_CONTEXT and the current context (see `runner context`) name a node as well"
        + ("." if node_only else "; without any, it is what `runner run` has kept here."),
    )
    group.add_argument(
        "--to",
        metavar="TARGET",
        type=filled,
        help="a node: host:port, unix:/path, or local for the one of this machine",
    )
    group.add_argument("--context", metavar="NAME", type=filled, help="a node that is kept under this name")
    parser.set_defaults(here=False, node_only=node_only)
    if not node_only:
        group.add_argument("--here", action="store_true", help="what `runner run` has kept here, whatever else is said")
    group.add_argument(
        "--state-dir", metavar="DIR", type=filled_path, help="where that is, or where the node of --to local is"
    )
    add_endpoint_arguments(group)


def add_endpoint_arguments(group: ArgumentParser | _ArgumentGroup) -> None:
    group.add_argument(
        "--ca", metavar="FILE", type=filled, help="whom the node's certificate has to be signed by (PEM)"
    )
    group.add_argument("--certificate", metavar="FILE", type=filled, help="who I am (PEM), with --key")
    group.add_argument("--key", metavar="FILE", type=filled, help="the key of --certificate (PEM)")
    group.add_argument(
        "--server-name", metavar="NAME", type=filled, help="what the node's certificate is for, if not for the host"
    )
    group.add_argument(
        "--token-file", metavar="FILE", type=filled, help="a file with a token; RUNNER_TOKEN holds one itself"
    )
    group.add_argument("--insecure", action="store_true", help="speak without TLS over a network, for all to read")
