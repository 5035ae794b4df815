"""`runner certs init|issue|renew|revoke`: a private certificate authority for nodes and for those who ask them."""

from __future__ import annotations

import json
import socket
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli import plain
from runner.cli.options import add_configuration_options, add_output_argument, node_state_dir_of, positive
from runner.cli.terminal import STDERR, STDOUT, Output, complain, visible
from runner.clock import rfc3339
from runner.config.keys import STATE_DIR
from runner.errors import UsageError
from runner.model import duration

if TYPE_CHECKING:
    from runner.certs import Authority, Issued

FOLDER = "certs"
DUE = "30d"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def run(options: Namespace) -> int:
    stdout = Output(STDOUT)
    options.action(options, stdout)
    return stdout.status(0)


def _init(options: Namespace, stdout: Output) -> None:
    from runner.certs import CA_DAYS, Authority, Kind, alternative_names

    if options.host and not options.node:
        raise UsageError("--host is about a node's certificate: give --node NAME too")
    if options.node:
        alternative_names(Kind.NODE, options.node, _hosts(options))  # before there is an authority without a node
    authority = Authority.create(_folder(options), now=_now(), days=options.days or CA_DAYS, force=options.force)
    machine = options.output == "json"
    if not machine:
        stdout.print(visible(f"{authority.certificate_file}: a new authority, until {_day(authority.expires)}"))
    Output(STDERR).print(
        f"Whoever has {authority.certificate_file.with_suffix('.key')} can be anybody: keep it off the nodes if you can."
    )
    node = None
    if options.node:
        node = authority.issue(Kind.NODE, options.node, hosts=_hosts(options), force=options.force)
    if machine:
        told = {"authority": _plain_authority(authority), "node": None if node is None else _plain(authority, node)}
        stdout.print(plain.line(told))
    elif node is not None:
        _show(authority, node, stdout)


def _issue(options: Namespace, stdout: Output) -> None:
    from runner.certs import LEAF_DAYS, Authority, Kind

    authority = Authority(_folder(options), _now())
    kind = Kind.NODE if options.node else Kind.CLIENT
    hosts = _hosts(options) if options.node else tuple(options.host)
    issued = authority.issue(kind, options.name, hosts=hosts, days=options.days or LEAF_DAYS, force=options.force)
    if options.output == "json":
        stdout.print(plain.line(_plain(authority, issued)))
    else:
        _show(authority, issued, stdout)


def _renew(options: Namespace, stdout: Output) -> None:
    from runner.certs import Authority, Kind

    authority = Authority(_folder(options), _now())
    known = authority.all()
    for name in options.names:
        if not any(issued.name == name for issued in known):
            raise UsageError(f"{name!r} has no certificate in {authority.folder}: `runner certs issue` makes one")
    within = timedelta(seconds=options.within)
    due = [
        item for item in known if item.name in options.names or (not options.names and authority.is_due(item, within))
    ]
    renewed: list[Issued] = []
    machine = options.output == "json"
    try:
        for issued in due:
            renewed.append(authority.renew(issued, options.days))
            if not machine:
                stdout.print(visible(f"{renewed[-1].certificate}: renewed, until {_day(renewed[-1].expires)}"))
    finally:
        if machine and (renewed or not due):  # where the disk fills up in the middle: these are new all the same
            told = [_plain(authority, issued) for issued in renewed]
            stdout.print(plain.line({"authority": _plain_authority(authority), "renewed": told}))
    if not machine:
        if not due:
            first = f": the next, {known[0].certificate}, expires on {_day(known[0].expires)}" if known else ""
            stdout.print(visible(f"nothing to renew{first}"))
        if any(issued.kind is Kind.NODE for issued in due):
            stdout.print("Nodes use them once they are told to reload (SIGHUP).")
        if any(issued.kind is Kind.CLIENT for issued in due):
            stdout.print("Clients need their new .pem and .key.")
    if authority.expires - _now() <= within:
        complain(
            f"the authority in {authority.folder} expires on {_day(authority.expires)}, and all that it has issued with it: "
            "`runner certs init --force` makes a new one, `runner certs renew` then new certificates for everybody"
        )


def _revoke(options: Namespace, stdout: Output) -> None:
    from runner.certs import Authority, Kind

    authority = Authority(_folder(options), _now())
    kind = Kind.NODE if options.node else Kind.CLIENT
    count = authority.revoke(kind, options.name)
    if options.output == "json":
        told = {"kind": kind.value, "name": options.name, "revoked": count, "crl": str(authority.crl_file)}
        stdout.print(plain.line(told))
        return
    what = {0: "nothing new", 1: "1 certificate"}.get(count, f"{count} certificates")
    stdout.print(visible(f"{authority.crl_file}: {what} of the {kind} {options.name} revoked"))
    stdout.print("Nodes that have the file refuse it at once, each with this line below [tls] of its runner.toml:")
    stdout.print("")
    stdout.print(visible(f"crl = {json.dumps(str(authority.crl_file), ensure_ascii=False)}"))


def _plain_authority(authority: Authority) -> dict[str, Any]:
    return {
        "certificate": str(authority.certificate_file),
        "key": str(authority.certificate_file.with_suffix(".key")),
        "crl": str(authority.crl_file) if authority.crl_file.exists() else None,
        "expires": rfc3339(authority.expires.timestamp()),
    }


def _plain(authority: Authority, issued: Issued) -> dict[str, Any]:
    """With what its holder needs beside it: `ca`."""
    return {
        "kind": issued.kind.value,
        "name": issued.name,
        "hosts": list(issued.hosts),
        "expires": rfc3339(issued.expires.timestamp()),
        "certificate": str(issued.certificate),
        "key": str(issued.key),
        "ca": str(authority.certificate_file),
    }


def _show(authority: Authority, issued: Issued, stdout: Output) -> None:
    """Where it is, and what has to be done with it."""
    from runner.certs import Kind

    stdout.print(visible(f"{issued.certificate}: the {issued.kind} {issued.name}, until {_day(issued.expires)}"))
    if issued.kind is Kind.NODE:
        settings = {"certificate": issued.certificate, "key": issued.key, "client_ca": authority.certificate_file}
        if authority.crl_file.exists():  # which older authorities have once somebody was revoked
            settings["crl"] = authority.crl_file
        # What JSON can spell TOML reads in the same way.
        lines = [f"{name} = {json.dumps(str(path), ensure_ascii=False)}" for name, path in settings.items()]
        stdout.print(
            visible(
                f"reached as {', '.join(issued.hosts)}; in its runner.toml, below a `listen` that others can reach:"
            )
        )
        stdout.print("\n".join(["", "[tls]", *lines]))
    else:
        files = {"--ca": authority.certificate_file, "--certificate": issued.certificate, "--key": issued.key}
        stdout.print("needs these three files, the last one kept from everybody else:")
        stdout.print("\n".join(visible(f"  {option} {path}") for option, path in files.items()))


def _folder(options: Namespace) -> Path:
    folder: Path = options.dir or node_state_dir_of(options) / FOLDER
    return folder.absolute()


def _hosts(options: Namespace) -> tuple[str, ...]:
    """Those that are given; without any, what this machine calls itself, so that the node can be tried here."""
    from runner.certs import is_host

    return tuple(dict.fromkeys(options.host or filter(is_host, (socket.gethostname(), *LOOPBACK))))


def _now() -> datetime:
    return datetime.now(UTC)


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d}"


def _seconds(text: str) -> float:
    try:
        return duration.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from None


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    init = actions.add_parser("init", help="make an authority, and a node's first certificate", allow_abbrev=False)
    init.add_argument("--node", metavar="NAME", help="issue a certificate for this node too")
    add_output_argument(init, "the files of the authority, and of the node's certificate")
    init.set_defaults(action=_init)

    issue = actions.add_parser("issue", help="issue a certificate for a client or a node", allow_abbrev=False)
    issue.add_argument("name", metavar="NAME", help="whom it is for: rules and groups call its holder so")
    issue.add_argument("--node", action="store_true", help="it is a node, which serves")
    add_output_argument(issue, "its files, and how long it is good for")
    issue.set_defaults(action=_issue)

    renew = actions.add_parser("renew", help="renew what expires soon, with the same names", allow_abbrev=False)
    renew.add_argument("names", metavar="NAME", nargs="*", help="these, however long they are good for")
    renew.add_argument(
        "--within", type=_seconds, default=DUE, metavar="TIME", help=f"what expires within that time (default: {DUE})"
    )
    add_output_argument(renew, "those that were renewed, and the authority")
    renew.set_defaults(action=_renew)

    revoke = actions.add_parser("revoke", help="take back what was issued for a client or a node", allow_abbrev=False)
    revoke.add_argument("name", metavar="NAME", help="whom it was for")
    revoke.add_argument("--node", action="store_true", help="it is a node")
    add_output_argument(revoke, "how many are new on the list, and where that is")
    revoke.set_defaults(action=_revoke)

    for action in (init, issue):
        action.add_argument(
            "--host",
            action="append",
            default=[],
            metavar="HOST",
            help="a DNS name or address at which the node is reached; may be repeated (default: this machine)",
        )
        action.add_argument("--force", action="store_true", help="replace what is there")
    for action in (init, issue, renew, revoke):
        what = "the authority" if action is init else "the certificate"
        if action is not revoke:
            action.add_argument("--days", type=positive, metavar="N", help=f"how long {what} is good for")
        action.add_argument(
            "--dir", type=Path, metavar="DIR", help="the authority's folder (default: certs in the state directory)"
        )
        add_configuration_options(action, (STATE_DIR,))
