"""A fault in a document, and how faults are spelt for a person."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from itertools import islice

from msgspec import Struct

from runner.model.words import listed

Path = tuple[str | int, ...]

LONGEST_QUOTE = 80
LONGEST_COMPARED = 128
COMPARISONS = 100_000
MOST_TASKS = 8
"""So many are named to whoever names none of them."""
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_PATH_PART = re.compile(r"""\.?([A-Za-z0-9_-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]""")


class Fault(Struct, frozen=True, kw_only=True):
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
    offset: int | None = None
    """The fault lies in a template in the text at `path`: where, in characters of that text."""
    if_written: bool = False
    """The fault is one only if something is written there; known once it is located."""

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
    """`("taskGroup", 2, "spec")` as `taskGroup[2].spec`; a key that is no word is quoted: `env["a.b"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _WORD.fullmatch(part) and len(part) <= LONGEST_QUOTE:
            text += f".{part}" if text else part
        else:
            text += f"[{quote(part)}]"
    return text


def read_path(text: str) -> Path:
    """The path that `spell_path` spelt so, but for keys that were cut."""
    parts: list[str | int] = []
    for word, index, quoted in _PATH_PART.findall(text):
        parts.append(word or (int(index) if index else json.loads(quoted, strict=False)))
    return tuple(parts)


def quote(text: str) -> str:
    """`text` in double quotes on one line, cut when it is long, safe to print."""
    short = text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else json.dumps(c)[1:-1] for c in short) + '"'


def no_such_task(name: str, tasks: Collection[str]) -> str:
    """What is said of a task that a group of these does not have."""
    hint = nearest(name, tasks) or (
        f"it has {listed(list(islice(tasks, MOST_TASKS)), len(tasks), MOST_TASKS)}" if tasks else ""
    )
    return f"the group has no task {name!r}" + (f" ({hint})" if hint else "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to `name`, or None when nothing is near."""
    if len(name) > LONGEST_COMPARED:
        return None
    import difflib  # only where something is wrong

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}?" if matches else None


class Faults:
    """The faults of one document, as they are found; at most `limit` errors and as many warnings, so that no document can
    fill the memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: list[Fault] = []
        self._counts = {False: 0, True: 0}
        """How many errors and how many warnings there were."""
        self._doubtful = 0
        """How many there were that may be none."""
        self._comparisons = COMPARISONS

    def add(
        self,
        path: Path,
        message: str,
        *,
        hint: str | None = None,
        about_key: bool = False,
        warning: bool = False,
        offset: int | None = None,
        if_written: bool = False,
    ) -> None:
        self.append(
            Fault(
                path=path,
                message=message,
                hint=hint,
                about_key=about_key,
                warning=warning,
                offset=offset,
                if_written=if_written,
            )
        )

    def append(self, fault: Fault) -> None:
        if fault.if_written:
            self._doubtful += 1
            if self._doubtful <= self._limit:
                self._found.append(fault)
            return
        self._counts[fault.warning] += 1
        if self._counts[fault.warning] <= self._limit:
            self._found.append(fault)

    def nearest(self, name: str, known: Collection[str]) -> str | None:
        """As `nearest`, but silent once the document has asked for more comparisons than is reasonable."""
        self._comparisons -= len(known)
        return nearest(name, known) if self._comparisons >= 0 else None

    def __len__(self) -> int:
        return len(self._found)

    def all(self) -> tuple[Fault, ...]:
        return tuple(self._found)

    def rest(self, source: str) -> tuple[Fault, ...]:
        """What there is to say of those beyond the limit."""
        return tuple(
            Fault(
                path=(),
                message=f"{count - self._limit:,} more {noun} are not shown: the limit is {self._limit:,}",
                source=source,
                warning=warning,
            )
            for (warning, count), noun in zip(self._counts.items(), ("faults", "warnings"), strict=True)
            if count > self._limit
        )
