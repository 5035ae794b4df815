"""What callers write down, so that the next life of a caller goes on where a former one was killed, and the judge can read it.

A line of JSON for each thing: one that is cut in half was not written. `done` are facts that a caller has been told; `saw` is what
one watch, or one followed log, has brought.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.model.event import Event
from runner.model.watch import LogChunk


class Diary:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "done"
        self._done = list(lines(self._path))

    def note(self, what: str, group: str = "", **more: Any) -> None:
        entry = {"what": what, "group": group, **more}
        self._done.append(entry)
        append(self._path, entry)

    def fault(self, text: str) -> None:
        """Something that a caller should not have seen."""
        append(self._folder / "faults", {"text": text})

    def has(self, what: str, group: str = "") -> Mapping[str, Any] | None:
        """The first that was noted of this kind."""
        return next((entry for entry in self._done if entry["what"] == what and entry["group"] == group), None)

    def every(self, what: str) -> list[Mapping[str, Any]]:
        return [entry for entry in self._done if entry["what"] == what]

    def faults(self) -> list[str]:
        return [str(entry["text"]) for entry in lines(self._folder / "faults")]

    def sighting(self, name: str, head: Mapping[str, Any]) -> Sighting:
        """A new one; `head` says what of."""
        folder = self._folder / "saw"
        folder.mkdir(exist_ok=True)
        sighting = Sighting(folder / f"{name}.{len(os.listdir(folder))}")
        append(sighting.path, head)
        return sighting

    def sightings(self) -> Iterator[list[dict[str, Any]]]:
        folder = self._folder / "saw"
        for path in sorted(folder.iterdir()) if folder.exists() else ():
            if found := list(lines(path)):
                yield found


class Sighting:
    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, *happenings: Event | LogChunk) -> None:
        for one in happenings:
            if isinstance(one, Event):
                append(
                    self.path, {"event": one.number, "kind": one.kind.value, "task": one.task, "attempt": one.attempt}
                )
            else:
                frame = one.frame
                data = base64.b64encode(frame.data).decode()
                append(
                    self.path,
                    {
                        "log": [one.task, one.attempt],
                        "stream": frame.stream,
                        "offset": frame.offset,
                        "position": frame.position,
                        "missing": frame.missing,
                        "data": data,
                    },
                )

    def over(self) -> None:
        append(self.path, {"over": True})


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """One write: of one that is cut in half nothing can be read, and the next begins a line of its own."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"\n" + json.dumps(entry).encode() + b"\n")
    finally:
        os.close(descriptor)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)
