"""`runner restore`: makes a state directory of a backup."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from runner.backup.archive import COPY_BYTES
from runner.backup.restoring import Restored, restore
from runner.cli import plain
from runner.cli.options import add_configuration_options, add_output_argument, node_state_dir_of
from runner.cli.terminal import STDERR, STDOUT, Output
from runner.config.keys import STATE_DIR
from runner.errors import BackupError, UsageError
from runner.model.words import counted

STDIN = 0


def run(options: Namespace) -> int:
    """0 when the directory is there, whole."""
    state_dir = node_state_dir_of(options)
    source = STDIN if options.file == "-" else options.file
    try:
        with open(source, "rb", closefd=source != STDIN) as file:
            restored = restore(partial(file.read, COPY_BYTES), state_dir, key_file=options.key_file)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if error.filename != source:
            raise
        raise UsageError(f"cannot read {source}: {error.strerror}") from None
    except BackupError as error:
        raise BackupError(f"{'the backup' if source == STDIN else source} cannot be used: {error.message}") from error
    stdout = Output(STDOUT)
    if options.output == "json":
        heading = restored.heading
        told = {"taken_at": heading.taken_at, "taken_by": heading.version, "unfinished": restored.unfinished}
        stdout.print(plain.line({"state_dir": str(state_dir), **told}))
    else:
        Output(STDERR).print(_words(restored, state_dir))
    return stdout.status(0)


def _words(restored: Restored, state_dir: Path) -> str:
    words = f"{state_dir} is as it was at {restored.heading.taken_at}"
    if restored.unfinished:
        which = "was" if restored.unfinished == 1 else "were"
        words += (
            f"; {counted(restored.unfinished, 'group')} that {which} not over then will be ended by the first node that "
            "works on it"
        )
    return words


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the backup; - for standard input")
    parser.add_argument("--key-file", type=Path, metavar="KEY", help="the sealing key, for a backup without it")
    add_output_argument(parser, "where it is, of when it is, and how many groups were not over then")
    add_configuration_options(parser, (STATE_DIR,))
    # A file in the directory would keep the next try from it, and this one if it comes before the end.
    parser.set_defaults(details_apart=True)
