"""Files and folders that are not what they should be: each text as a whole, since people read it wherever it comes out."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.certs import Authority, Kind
from runner.certs.revoked import CRL_FILE
from runner.client.channel import metadata, open_blocking_channel
from runner.client.packing import pack
from runner.config import load_settings
from runner.config.client import load_client_settings
from runner.config.service import Tracing
from runner.errors import RunnerError, UsageError
from runner.formatting import formatted
from runner.model import endpoint
from runner.model.endpoint import Endpoint
from runner.runs.run import Run
from runner.sealing import Sealer, read_key
from runner.store import trouble
from runner.store.sqlite import SqliteStore
from runner.telemetry import opening
from runner.tokens import Tokens
from runner.webhook.signing import read_secrets
from runner.workspace import make_private
from taskimpl.os_exec import warnings

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ID = "0123456789ab"
SEALED = Sealer(b"k" * 32).seal(b"x", "here")


def opened(path: Path, text: str | bytes = "") -> None:
    """Open it as a state, which holds these bytes, or what these statements make of an empty database."""
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text:
        database = sqlite3.connect(path)
        database.executescript(text)
        database.close()
    SqliteStore.open(path, call_soon_threadsafe=lambda call, *given: call(*given)).close()


def issued(here: Path, name: str, text: str) -> None:
    """Revoke a certificate where a file is spoilt."""
    authority = Authority.create(here / "certs", now=NOW)
    authority.issue(Kind.CLIENT, "ada")
    (here / "certs" / name).write_text(text)
    Authority(here / "certs", NOW).revoke(Kind.CLIENT, "ada")


def never_began(here: Path) -> None:
    opened(here / "state.db")
    Run(here, Sealer.ephemeral())


def token_that_stays(here: Path) -> None:
    (here / f"tokens/{ID}.json").mkdir(parents=True)
    Tokens(here).revoke(ID)


def shrinking(here: Path) -> None:
    """A file that becomes shorter while it is sent."""
    (here / "w").mkdir()
    (here / "w/a").write_bytes(b"x" * 10_000_000)
    pieces = pack(here / "w", ())
    next(pieces)
    os.truncate(here / "w/a", 5)
    list(pieces)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a key's size": (lambda here: Sealer(b"k" * 16), "a key has 32 bytes, not 16"),
    "a key's name": (lambda here: Sealer.open_or_create("a\0b"), "'a\\x00b' is not a path: embedded null byte"),
    "a key that is no file": (
        Sealer.open_or_create,
        "the key file {here} is not a file: give another path",
    ),
    "no key": (
        lambda here: read_key(here / "key"),
        "the key file {here}/key cannot be read: No such file or directory; make it readable for this user",
    ),
    "a sealed value that is cut off": (
        lambda here: Sealer(b"k" * 32).unseal(SEALED[:5], "here"),
        "the sealed value of 'here' is cut off: 5 bytes; restore a backup of the state",
    ),
    "a sealed value of a newer runner": (
        lambda here: Sealer(b"k" * 32).unseal(b"\x02" + SEALED[1:], "here"),
        "the value of 'here' is sealed in form 2; this runner knows form 1: use a newer one",
    ),
    "a sealed value of another place": (
        lambda here: Sealer(b"k" * 32).unseal(SEALED, "there"),
        "the sealed value of 'there' was altered, or sealed for another place; restore a backup of the state",
    ),
    "a state that is a folder": (
        opened,
        "the state {here} is a folder, not a file: give another path",
    ),
    "a state's name": (lambda here: opened(Path("a\0b")), "'a\\x00b' is not a path: embedded null byte"),
    "a state of something else": (
        lambda here: opened(here / "db", "CREATE TABLE t (x)"),
        "{here}/db is a database of another application (0x00000000): give another path",
    ),
    "a state that is damaged": (
        lambda here: opened(here / "db", b"x" * 200),
        "the state {here}/db is damaged: it is not a database; it is left as it is: restore a copy, or move it away to begin anew",
    ),
    "a certificate that is none": (
        lambda here: issued(here, "clients/ada.pem", "nonsense"),
        "{here}/certs/clients/ada.pem is no certificate: put back what was there, or issue it anew with --force",
    ),
    "a list of certificates that is none": (
        lambda here: issued(here, CRL_FILE, "nonsense"),
        "{here}/certs/crl.pem is no list of revoked certificates: put back what was there",
    ),
    "a workspace that is a file": (
        lambda here: (here / "w").write_text("x") and list(pack(here / "w", ())),
        "the workspace {here}/w is not a folder; give one, or none for an empty workspace",
    ),
    "a workspace that changes": (
        shrinking,
        "{here}/w/a became shorter while it was sent; try again when nobody writes to it",
    ),
    "a token's file": (
        lambda here: metadata(Endpoint(target="x:1", token_file=str(here / "t"))),
        "the token in {here}/t cannot be read: No such file or directory; expected one line of letters and digits",
    ),
    "an authority's file": (
        lambda here: open_blocking_channel(Endpoint(target="x:1", ca=str(here / "ca")), 20.0),
        "{here}/ca cannot be read: No such file or directory; expected a PEM file",
    ),
    "a socket's path": (
        lambda here: endpoint.parse("unix:/" + "s" * 200),
        "the path of the socket /" + "s" * 200 + " is longer than 107 bytes",
    ),
    "a webhook's secret": (
        lambda here: read_secrets(here / "s"),
        "the secret of the webhook cannot be read from {here}/s: No such file or directory; make it readable for the node's user",
    ),
    "a run that never began": (
        never_began,
        "the run in {here} was never accepted: remove that folder",
    ),
    "a token that stays": (
        token_that_stays,
        f"the token {ID} cannot be revoked: Is a directory: {{here}}/tokens/{ID}.json; remove that file",
    ),
    "a document that is no YAML": (
        lambda here: formatted("a: ["),
        (
            "it cannot be taken apart: while parsing a flow node\nexpected the node content, but found '<stream end>'\n"
            '  in "<unicode string>", line 1, column 5:\n    a: [\n        ^'
        ),
    ),
    "a folder in a file": (
        lambda here: (here / "f").write_text("x") and make_private(here / "f/g"),
        "the folder {here}/f/g cannot be made or used: Not a directory: {here}/f/g; give another one",
    ),
}


@pytest.mark.parametrize(("cause", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_told(tmp_path: Path, cause: Callable[[Path], object], message: str) -> None:
    with pytest.raises(RunnerError) as caught:
        cause(tmp_path)
    assert caught.value.message == message.replace("{here}", str(tmp_path))


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (sqlite3.SQLITE_FULL, "the disk that holds /db is full: free some space and try again"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "the disk that holds /db is full: free some space and try again"),
        (sqlite3.SQLITE_BUSY, "another process holds the state /db: end it and try again"),
        (
            sqlite3.SQLITE_READONLY,
            "the state /db cannot be written: as SQLite says it; make it and its folder writable, or give another state directory",
        ),
        (
            sqlite3.SQLITE_CORRUPT,
            "the state /db is damaged: as SQLite says it; it is left as it is: restore a copy, or move it away to begin anew",
        ),
        (sqlite3.SQLITE_IOERR, "the state /db cannot be used: as SQLite says it; check the disk and restart"),
    ],
)
def test_what_is_told_of_a_database(code: int, message: str) -> None:
    assert trouble.from_sqlite(sqlite_error(code), Path("/db")).args == (message,)


def test_who_has_no_home_names_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # of whom the system knows nothing
    with pytest.raises(
        RunnerError,
        match=r"^RUNNER_STATE_DIR: there is no home folder to keep state in; set XDG_STATE_HOME or name a folder$",
    ):
        load_settings({})
    with pytest.raises(RunnerError, match=r"^there is no home folder to look for contexts in; set XDG_CONFIG_HOME$"):
        load_client_settings({})


def test_what_needs_a_library_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "runner.telemetry.prometheus", None)
    monkeypatch.setitem(sys.modules, "runner.telemetry.spans", None)
    halted = "(import of runner.telemetry.{} halted; None in sys.modules)"
    with pytest.raises(UsageError) as of_metrics:
        opening.metrics()
    assert of_metrics.value.message == (
        f"metrics.listen is set, which needs more: pip install 'runner[metrics]' {halted.format('prometheus')}"
    )
    with pytest.raises(UsageError) as of_spans:
        opening.spans(Tracing(), "n1")
    assert of_spans.value.message == (
        f"tracing.endpoint is set, which needs more: pip install 'runner[tracing]' {halted.format('spans')}"
    )


def test_who_is_not_root_is_warned_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    [finding] = warnings.find({"command": ["true"], "user": "nobody"}, ())
    assert finding.message == (
        "this runner is not root, and can run it as its own user alone; run the runner as root, or leave `user` away"
    )
