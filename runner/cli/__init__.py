"""The command `runner`. Nothing heavy is imported before it is known that it is needed."""

import gc
import os
import sys

from runner import __version__


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 success, 1 a group that did not succeed, 2 a document or usage error,
    130 interrupted."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments == ["--version"]:
        try:
            os.write(1, f"runner {__version__}\n".encode())
        except OSError:
            return 1
        return 0
    gc.disable()  # what is imported lives on: to look for garbage in it takes a tenth of the start
    try:
        from runner.cli.commands import run_command
        from runner.cli.spared import spare

        spare()

        status = run_command(arguments)
        if ending := sys.modules.get("runner.cli.ending"):
            ending.leave(status)
        return status
    except KeyboardInterrupt:  # while modules were still being imported
        return 130
    finally:
        gc.enable()
