"""`runner token create|ls|revoke`: bearer tokens for those who ask the node of a state directory."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from runner.cli import plain
from runner.cli.options import add_configuration_options, add_output_argument, node_state_dir_of
from runner.cli.terminal import STDERR, STDOUT, Output, visible
from runner.clock import rfc3339
from runner.config.keys import STATE_DIR
from runner.config.service import DEFAULT_SCOPES, Scope
from runner.model import duration
from runner.tokens import DEFAULT_LIFETIME_SECONDS, Token, Tokens, Use

NEVER = "never"
COLUMNS = ("ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "DESCRIPTION")


def run(options: Namespace) -> int:
    stdout = Output(STDOUT)
    options.action(options, Tokens(node_state_dir_of(options)), stdout)
    return stdout.status(0)


def _create(options: Namespace, tokens: Tokens, stdout: Output) -> None:
    token, text = tokens.create(
        options.name,
        now=time.time(),
        scopes=frozenset(options.scope or DEFAULT_SCOPES),
        lifetime=options.expires,
        description=options.description,
    )
    if options.output == "json":
        stdout.print(plain.line({**_plain(token), "token": text}))
        return
    stdout.print(text)
    until = "for ever" if token.expires is None else f"until {_day(token.expires)}"
    Output(STDERR).print(
        visible(f"{token.name}: {_scopes(token.scopes)}, {until}, id {token.id}. It is not shown again.")
    )


def _ls(options: Namespace, tokens: Tokens, stdout: Output) -> None:
    uses = tokens.all()
    if options.output == "json":
        told = [{**_plain(use.token), "lastUsed": None if use.last is None else _day(use.last)} for use in uses]
        stdout.print(json.dumps({"tokens": told}, indent=2, ensure_ascii=False))
        return
    now = time.time()
    rows = [COLUMNS, *(_row(use, now) for use in uses)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        stdout.print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _revoke(options: Namespace, tokens: Tokens, stdout: Output) -> None:
    revoked: list[str] = []
    try:
        for id in options.ids:
            tokens.revoke(id)
            revoked.append(id)
            if options.output == "text":
                stdout.print(f"{id}: revoked")
    finally:
        if revoked and options.output == "json":  # where another one ends it too: these are
            stdout.print(plain.line({"revoked": revoked}))


def _row(use: Use, now: float) -> tuple[str, ...]:
    token = use.token
    expires = NEVER if token.expires is None else _day(token.expires) + (" (over)" if token.is_over(now) else "")
    return (
        token.id,
        token.name,
        _scopes(token.scopes),
        _day(token.created),
        expires,
        "never" if use.last is None else _day(use.last),
        visible(token.description),
    )


def _plain(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "created": rfc3339(token.created),
        "expires": None if token.expires is None else rfc3339(token.expires),
        "description": token.description,
    }


def _scopes(scopes: frozenset[Scope]) -> str:
    return ",".join(scope for scope in Scope if scope in scopes)


def _day(wall: float) -> str:
    return rfc3339(wall)[:10]


def _lifetime(text: str) -> float | None:
    if text == NEVER:
        return None
    try:
        seconds = duration.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}, or `{NEVER}`") from None
    if seconds < 1:
        raise ArgumentTypeError(f"{text!r}: a token is good for a second at least")
    return seconds


def _named(text: str) -> list[Scope]:
    """As `token ls` writes them, with commas, or a single one."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Scope):
            raise ArgumentTypeError(f"{name!r} is no scope; expected {', '.join(Scope)}")
    return [Scope(name) for name in names]


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    create = actions.add_parser("create", help="make a token; it is printed once", allow_abbrev=False)
    create.add_argument("name", metavar="NAME", help="whom it is for: rules and groups call its holder so")
    create.add_argument(
        "--scope",
        type=_named,
        action="extend",
        metavar="SCOPE",
        help=f"what it allows, of what the rules allow its holder: {', '.join(Scope)}; may be repeated, or a list with commas (default: {_scopes(DEFAULT_SCOPES)})",
    )
    days = f"{DEFAULT_LIFETIME_SECONDS / 86400:.0f}d"
    create.add_argument(
        "--expires",
        type=_lifetime,
        default=days,
        metavar="TIME",
        help=f"how long it is good for, e.g. 12h or 30d; or {NEVER} (default: {days})",
    )
    create.add_argument("--description", default="", metavar="TEXT", help="what it is used for")
    add_output_argument(create, "the token with its id, name, scopes and days")
    create.set_defaults(action=_create)

    ls = actions.add_parser("ls", help="show the tokens there are", allow_abbrev=False)
    add_output_argument(ls, "for programs")
    ls.set_defaults(action=_ls)

    revoke = actions.add_parser("revoke", help="take tokens back, from a node that runs as well", allow_abbrev=False)
    revoke.add_argument("ids", metavar="ID", nargs="+", help="of `runner token ls`")
    add_output_argument(revoke, "the ids of those that were")
    revoke.set_defaults(action=_revoke)

    for action in (create, ls, revoke):
        add_configuration_options(action, (STATE_DIR,))
