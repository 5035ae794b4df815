"""`runner context`: the nodes that are kept under names."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from msgspec.structs import replace

from runner.cli import plain
from runner.cli.inputs import read_secret
from runner.cli.options import add_output_argument
from runner.cli.place import PARTS, add_endpoint_arguments
from runner.cli.terminal import STDOUT, Output, visible
from runner.config import contexts
from runner.config.client import load_client_settings
from runner.errors import UsageError
from runner.model.endpoint import Endpoint

NAMES = "letters, digits, `.`, `_` and `-`"


def run(options: Namespace) -> int:
    status: int = options.verb(options)
    return status


def _list(options: Namespace) -> int:
    known = contexts.load(load_client_settings().contexts_file)
    stdout = Output(STDOUT)
    width = max(map(len, known.contexts), default=0)
    for name, endpoint in known.contexts.items():
        current = name == known.current
        if options.output == "json":
            stdout.print(plain.line(_plain(known, name)))
        else:
            stdout.print(visible(f"{'*' if current else ' '} {name:{width}}  {endpoint.target}"))
    return stdout.status(0)


def _add(options: Namespace) -> int:
    if not options.name or not options.name.isascii() or not set(options.name) <= _ALLOWED:
        raise UsageError(f"{options.name!r} cannot be the name of a context: expected {NAMES}")
    path = load_client_settings().contexts_file
    known = contexts.load(path)
    if options.name in known.contexts and not options.replace:
        raise UsageError(f"there is a context {options.name!r} already; --replace puts this one in its place")
    token = None if options.token is None else read_secret("--token", options.token)
    files = {
        part: os.path.abspath(value) for part in PARTS if part != "server_name" and (value := getattr(options, part))
    }
    endpoint = Endpoint(
        target=options.target, server_name=options.server_name, token=token, insecure=options.insecure, **files
    ).checked()
    changed = known.with_context(options.name, endpoint)
    if options.use or not known.contexts:
        changed = replace(changed, current=options.name)
    contexts.save(path, changed)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line(_plain(changed, options.name)))
    else:
        stdout.print(f"{options.name} is {endpoint.target}" + (", and current" * (changed.current == options.name)))
    return stdout.status(0)


def _use(options: Namespace) -> int:
    path = load_client_settings().contexts_file
    known = contexts.load(path)
    if options.none == (options.name is not None):
        raise UsageError("give the name of a context, or --none")
    if options.name is not None:
        known.named(options.name)
    changed = replace(known, current=options.name)
    contexts.save(path, changed)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line(None if options.none else _plain(changed, options.name)))
    return stdout.status(0)


def _remove(options: Namespace) -> int:
    path = load_client_settings().contexts_file
    contexts.save(path, contexts.load(path).without(options.name))
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(plain.line({"removed": options.name}))
    return stdout.status(0)


def _plain(known: contexts.Contexts, name: str) -> dict[str, object]:
    return {"name": name, "target": known.contexts[name].target, "current": name == known.current}


_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def add_arguments(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = verbs.add_parser("ls", help="show them; * is the current one", allow_abbrev=False)
    add_output_argument(listing, "a line for each")
    listing.set_defaults(verb=_list)
    adding = verbs.add_parser("add", help="keep a node under a name", allow_abbrev=False)
    adding.add_argument("name", metavar="NAME", help=f"of {NAMES}")
    adding.add_argument("target", metavar="TARGET", help="host:port, or unix:/path")
    adding.add_argument(
        "--token", metavar="SOURCE", help="keep the token itself: from @FILE, env:VAR or standard input (-)"
    )
    adding.add_argument("--use", action="store_true", help="and make it the current one, as the first one is anyway")
    adding.add_argument("--replace", action="store_true", help="in place of the one of this name")
    add_endpoint_arguments(adding)
    add_output_argument(adding, "its name and target, and whether it is current")
    adding.set_defaults(verb=_add)
    using = verbs.add_parser("use", help="make one the current one", allow_abbrev=False)
    using.add_argument("name", metavar="NAME", nargs="?")
    using.add_argument("--none", action="store_true", help="none: commands are about what `runner run` has kept here")
    add_output_argument(using, "the current one; null for none")
    using.set_defaults(verb=_use)
    removing = verbs.add_parser("rm", help="forget one", allow_abbrev=False)
    removing.add_argument("name", metavar="NAME")
    add_output_argument(removing, "the name of the one that is gone")
    removing.set_defaults(verb=_remove)
