"""A fault in a document, and how faults are spelt for a person."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a document (or, with `warning`, worth a look).

    `path` leads from the top of the document, e.g. `("taskGroup", 2, "spec", "envs", "A")`. `line` and `column` count
    from 1 and are 0 where the place is not known. `message` says what is wrong and what was expected; `hint` what to do.
    """

    path: Path
    message: str
    hint: str | None = None
    source: str = "<document>"
    line: int = 0
    column: int = 0
    warning: bool = False
    about_key: bool = False
    """The fault lies in the key itself (unknown, duplicate), not in its value."""

    def __str__(self) -> str:
        where = self.source + (f":{self.line}:{self.column}" if self.line else "")
        kind = "warning: " if self.warning else ""
        path = f"{spell_path(self.path)}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {kind}{path}{self.message}{hint}"

    def as_json(self) -> dict[str, object]:
        return {
            "source": self.source,
            "path": spell_path(self.path),
            "line": self.line,
            "column": self.column,
            "severity": "warning" if self.warning else "error",
            "message": self.message,
            "hint": self.hint,
        }


def spell_path(path: Path) -> str:
    """`("taskGroup", 2, "spec")` as `taskGroup[2].spec`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to `name`, or None when nothing is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}?" if matches else None
