"""By what a run was ended early: its process leaves it in a file in its folder, for those who ask why."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runner import privatefile

FILE = "interrupted"

CHANGE = "change"
"""Of something that it watches."""

_WORDS: Mapping[str, str] = {
    signal.SIGINT.name: "Ctrl-C, or `runner cancel`,",
    signal.SIGHUP.name: "the end of its terminal (SIGHUP)",
    signal.SIGTERM.name: "SIGTERM, or `runner cancel`,",
    CHANGE: "a change of what `--watch` watches",
}


def note(folder: Path, what: str) -> None:
    """What did it, the name of a signal or `CHANGE`. Nothing but a word in an explanation hangs on it."""
    with suppress(OSError), open(folder / FILE, "w", opener=privatefile.opener) as file:
        file.write(what)


def by(folder: Path) -> str | None:
    """What it was, in words; None where nobody has noted that."""
    try:
        return _WORDS.get((folder / FILE).read_text())
    except (OSError, UnicodeDecodeError):
        return None
