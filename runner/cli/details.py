"""What is not for the terminal, kept where only this user can read it."""

from __future__ import annotations

import os
import time
import traceback
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from runner.config import load_settings
from runner.errors import RunnerError


class Details:
    """Keeps what is not for the terminal. `options` are the command's, and know of a state directory or not. Where they have
    `details_apart`, it is kept among temporary files: the command needs a state directory that has nothing in it."""

    def __init__(self, options: Namespace) -> None:
        self.options = options

    def keep(self, what: BaseException | str) -> str:
        """Write it down where only this user can read it; where that is, to be told. Raises nothing."""
        from runner.clock import rfc3339

        text = what if isinstance(what, str) else "".join(traceback.format_exception(what))
        try:
            path, descriptor = self._open()
            with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{rfc3339(time.time())} {text}\n")
        except OSError as error:
            return f"details could not be kept: {error.strerror}"
        return f"details are in {path}"

    def _open(self) -> tuple[Path, int]:
        if not getattr(self.options, "details_apart", False):
            with suppress(OSError, RunnerError):
                path = load_settings(state_dir=getattr(self.options, "state_dir", None)).log_file
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        import tempfile

        descriptor, name = tempfile.mkstemp(prefix="runner-", suffix=".log")
        return Path(name), descriptor
