"""What a node says of itself on stderr: a line for each record, as JSON for machines or as text for people.

Nothing that goes on here may stop the node. Lines are written by a thread; where nobody reads them, so many are kept and the
others counted. Records that repeat themselves are held back and counted, so that nobody can fill a disk by asking for it. What an
unforeseen error says may quote what nobody should see: it goes to a file that only the node's own user can read.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from typing import Any, Literal

from runner.clock import rfc3339

BURST = 50
"""So many records of one kind may come at once."""

A_SECOND = 5.0
"""So many of one kind are shown in the long run."""

KINDS_KEPT = 1000
LINES_KEPT = 10_000
LAST_WORDS_SECONDS = 1.0
LONGEST_LINE_CHARS = 16_384

_TRACEBACK = "Traceback (most recent call last):"
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})

Format = Literal["text", "json"]


class Records(logging.Handler):
    """`keep` writes down what is not for everybody, and says where; it raises nothing."""

    def __init__(self, descriptor: int, form: Format, keep: Callable[[BaseException | str], str]) -> None:
        super().__init__()
        self._writer = _Writer(descriptor)
        self._spell = _as_json if form == "json" else _as_text
        self._keep = keep
        self._repetition = Repetition()

    def emit(self, record: logging.LogRecord) -> None:
        held_back = self._repetition.admit(record, time.monotonic())
        if held_back is None:
            return
        try:
            fields = self._fields(record, held_back)
        except Exception as error:  # noqa: BLE001 (a record that cannot be shown must not end what it tells of)
            fields = {
                "time": rfc3339(record.created),
                "level": "error",
                "action": "bad_record",
                "message": f"a record could not be shown: {type(error).__name__}",
            }
        lost = self._writer.lost
        if lost:
            fields["lost"] = lost
        if self._writer.put(self._spell(fields)):
            self._writer.lost -= lost

    def close(self) -> None:
        """Write what there is, and how much was held back, for a moment at most."""
        for action, count in self._repetition.held_back():
            said = {"time": rfc3339(time.time()), "level": "warning", "action": action}
            message = "records of this kind were held back, for there were too many"
            self._writer.put(self._spell({**said, "message": message, "held_back": count}))
        self._writer.close()
        super().close()

    def _fields(self, record: logging.LogRecord, held_back: int) -> dict[str, Any]:
        message, *more = record.getMessage().splitlines() or [""]
        fields: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "action": getattr(record, "action", record.name),
            "message": message.removesuffix(_TRACEBACK).rstrip(": "),
        }
        fields.update(
            (name, value) for name, value in vars(record).items() if name not in _STANDARD and name not in fields
        )
        if held_back:
            fields["held_back"] = held_back
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["error"] = type(error).__name__
        if error is not None or more:
            fields["details"] = self._keep(error if error is not None else record.getMessage())
        return fields


def _as_json(fields: dict[str, Any]) -> str:
    # In ASCII, so that nothing in it can move a terminal's cursor or break a line.
    return json.dumps({name: _plain(value) for name, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= LONGEST_LINE_CHARS else f"{text[:LONGEST_LINE_CHARS]}…"


def _as_text(fields: dict[str, Any]) -> str:
    shown = {name: _plain(value) for name, value in fields.items() if name != "action"}
    line = f"{shown.pop('time')} {shown.pop('level')}: {shown.pop('message')}"
    rest = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in shown.items()
    ]
    return _visible(f"{line} ({'; '.join(rest)})" if rest else line)


def _visible(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class Repetition:
    """How often each kind of record may be shown. A kind is what the code says, whatever is filled in."""

    def __init__(self, *, burst: int = BURST, a_second: float = A_SECOND) -> None:
        self._burst = burst
        self._a_second = a_second
        self._kinds: OrderedDict[tuple[str, str], _Kind] = OrderedDict()

    def admit(self, record: logging.LogRecord, now: float) -> int | None:
        """How many of its kind were held back before it; None if this one is held back too. `now` is in seconds of any clock
        that only goes forward."""
        name = record.name, getattr(record, "action", str(record.msg))
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = _Kind(self._burst, now)
            if len(self._kinds) > KINDS_KEPT:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(name)
        kind.left = min(self._burst, kind.left + (now - kind.at) * self._a_second)
        kind.at = now
        if kind.left < 1:
            kind.held_back += 1
            return None
        kind.left -= 1
        held_back, kind.held_back = kind.held_back, 0
        return held_back

    def held_back(self) -> list[tuple[str, int]]:
        """What was held back and not told yet, by action."""
        return [(action, kind.held_back) for (_, action), kind in self._kinds.items() if kind.held_back]


class _Kind:
    __slots__ = ("at", "held_back", "left")

    def __init__(self, left: float, at: float) -> None:
        self.left = left
        self.at = at
        self.held_back = 0


class _Writer:
    """Writes lines to a descriptor, on a thread of its own. What nobody reads is lost, and counted, when there is too much."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: Queue[str | None] = Queue(LINES_KEPT)
        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        self._thread.start()
        self.lost = 0

    def put(self, line: str) -> bool:
        """Whether it will be written."""
        try:
            self._lines.put_nowait(line)
        except Full:
            self.lost += 1
            return False
        return True

    def close(self) -> None:
        with suppress(Full):
            self._lines.put(None, timeout=LAST_WORDS_SECONDS)
            self._thread.join(LAST_WORDS_SECONDS)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            view = memoryview(f"{line}\n".encode())
            try:
                while view:
                    try:
                        view = view[os.write(self._descriptor, view) :]
                    except BlockingIOError:  # whoever has the other end has set it so
                        select.select([], [self._descriptor], [])
            except OSError:
                continue  # its reader is gone; there may be another one later
