"""`runner backup`: a copy of a state directory in one file, also while a node works on it."""

from __future__ import annotations

import os
import secrets
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from msgspec.structs import asdict

from runner.backup.taking import Taken, take
from runner.cli import plain
from runner.cli.options import add_configuration_options, add_output_argument, node_state_dir_of
from runner.cli.terminal import STDERR, STDOUT, Output
from runner.config.keys import STATE_DIR
from runner.errors import BackupError, UsageError
from runner.model.words import counted


def run(options: Namespace) -> int:
    """0 when the backup is there, whole."""
    state_dir = node_state_dir_of(options)  # a certificate that is missing hinders no backup
    machine, stdout = options.output == "json", Output(STDOUT)
    if options.file == "-":
        if machine:
            raise UsageError("standard output cannot have both the backup and JSON: name a file")
        if os.isatty(STDOUT):
            raise UsageError("a backup is not written to a terminal: name a file, or send it somewhere")
        with open(STDOUT, "wb", closefd=False) as target:
            taken = take(state_dir, target, with_key=options.with_key, now=time.time())
            target.flush()
    else:
        taken = _to_file(state_dir, Path(options.file), with_key=options.with_key)
    if machine:
        stdout.print(plain.line({"state_dir": str(state_dir), "file": os.path.abspath(options.file), **asdict(taken)}))
        return stdout.status(0)
    words = f"{counted(taken.files, 'file')} with {counted(taken.bytes, 'byte')}" + (
        f", of {counted(taken.runs, 'run')}" if taken.runs else ""
    )
    key = "with the key" if taken.with_key else "without the key: keep that apart"
    Output(STDERR).print(f"backup of {state_dir}: {words}, {key}")
    return 0


def _to_file(state_dir: Path, file: Path, *, with_key: bool) -> Taken:
    """There whole or not at all, and on the disk."""
    if os.path.lexists(file):
        raise UsageError(f"{file} is there already: remove it, or name another file")
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as target:
            taken = take(state_dir, target, with_key=with_key, now=time.time(), scratch=file.absolute().parent)
            target.flush()
            os.fsync(target.fileno())
        os.link(draft, file)
    except FileExistsError:
        raise UsageError(f"{file} is there already: remove it, or name another file") from None
    except OSError as error:
        if str(error.filename) != str(draft):
            raise
        raise BackupError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # where it was never made
            draft.unlink()
    return taken


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="where to put it; - for standard output")
    parser.add_argument(
        "--with-key",
        action="store_true",
        help="put the sealing key into it: whoever has the backup has all secrets then",
    )
    add_output_argument(parser, "where it is and what is in it")
    add_configuration_options(parser, (STATE_DIR,))
