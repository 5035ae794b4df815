"""`runner fmt FILE…`: bring documents into their canonical form."""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from drivers.registry import Registry
from runner import tasktypes
from runner.cli.document import STDIN, read_file, source_name
from runner.cli.faults import told
from runner.cli.options import settings_of
from runner.cli.terminal import STDOUT, Output, complain, visible
from runner.errors import DocumentError, RunnerError, UsageError
from runner.formatting import formatted
from runner.validation import load
from runner.validation.forwarding import unjudged

CANONICAL, DIFFERS, REFUSED = 0, 1, 2


def run(options: Namespace) -> int:
    """0 when all are canonical now, with `--check` 1 when one is not, 2 when one is refused."""
    if options.files.count(STDIN) > 1:
        raise UsageError("standard input can be read only once; give - once")
    registry = tasktypes.registry(settings_of(options))
    stdout = Output(STDOUT)
    status = CANONICAL
    for name in options.files:
        try:
            status = max(status, _format(name, registry, stdout, check=options.check))
        except (DocumentError, UsageError) as error:
            complain(told(error))
            status = REFUSED
    return stdout.status(status)


def _format(name: str, registry: Registry, stdout: Output, *, check: bool) -> int:
    """Raises DocumentError, UsageError."""
    data = read_file(name)
    source = source_name(name)
    before = load(data, source=source, registry=registry, judge=unjudged).group
    after = _canonical(data, source)
    try:
        changed = load(after, source=source, registry=registry, judge=unjudged).group != before
    except DocumentError:
        changed = True
    if changed:
        raise UsageError(
            f"{source}: its form cannot be changed without its meaning, so it is left as it is; please report it"
        )
    if check:
        if after != data:
            stdout.print(visible(source))
        return DIFFERS if after != data else CANONICAL
    if name == STDIN:
        stdout.write(after)
    elif after != data:
        _write(Path(name), after)
        stdout.print(visible(name))
    return CANONICAL


def _canonical(data: bytes, source: str) -> bytes:
    try:
        return formatted(data.decode()).encode()
    except RunnerError as error:
        raise UsageError(f"{source}: {error.message}") from error


def _write(path: Path, data: bytes) -> None:
    """Put it in the place of the file, whole or not at all; a link stays one. Raises UsageError."""
    try:
        real = Path(os.path.realpath(path))
        status = real.stat()
        descriptor, new = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, status.st_mode & 0o7777)
                with suppress(PermissionError):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
                file.write(data)
            os.replace(new, real)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(new)
            raise
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {os.strerror(error.errno or 0)}; make its folder writable, or read it with -"
        ) from error


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Bring valid documents into their canonical form: indentation, blanks and today's spelling of keys. Comments, the order of keys, quotes, anchors, "
        "block scalars and line breaks stay, and so does what it means, which is compared. The names of those that were written anew are printed."
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="task groups; - reads standard input and prints what comes of it"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing, print the names of those that are not canonical, and end with 1 if there are any",
    )
