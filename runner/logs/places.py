"""Where in a log file an offset is found, without looking through all that stands before it: marks, some way from each other.

They are made while headers are passed over, by whoever reads; nothing of them is on the disk. A log of any size has some
thousand at most: of a longer one every other mark is dropped, and the next ones are twice as far apart.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from threading import Lock

from runner.logs import framing
from runner.logs.limit import Mark
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream

SPACING_BYTES = 64 << 10
MOST_MARKS = 4096  # 100 KiB of memory
MOST_LOGS = 64
_BEGINNING = Mark(len(framing.FILE_HEADER))


class Places:
    """The marks of the logs that were read last. May be used by several threads at once."""

    def __init__(self) -> None:
        self._files: OrderedDict[AttemptId, FilePlaces] = OrderedDict()
        self._lock = Lock()

    def of(self, id: AttemptId, inode: int) -> FilePlaces:
        """Of the file that has this number: another one has taken its place when it has another."""
        with self._lock:
            places = self._files.get(id)
            if places is None or places.inode != inode:
                places = self._files[id] = FilePlaces(inode)
            self._files.move_to_end(id)
            if len(self._files) > MOST_LOGS:
                self._files.popitem(last=False)
            return places

    def forget(self, id: AttemptId) -> None:
        with self._lock:
            self._files.pop(id, None)

    def forget_group(self, group: str) -> None:
        with self._lock:
            for id in [id for id in self._files if id.group == group]:
                del self._files[id]


class FilePlaces:
    """The marks of one file."""

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self._lock = Lock()
        self._spacing = SPACING_BYTES
        self._begin()

    def place(self, reader: framing.Reader, stream: Stream, offset: int) -> int:
        """Where a frame begins, behind which `offset` is to be found. Reads the headers from the last mark before it on."""
        with self._lock:
            index = bisect_right(self._offsets[stream], offset) - 1
            begin = Mark(self._places[index], *(offsets[index] for offsets in self._offsets.values()))
        found = reader.skip(begin, stream, offset, self.note)
        if found is None:  # the file is another one after all: it was masked anew, twice, and has got its number back
            with self._lock:
                self._begin()
            found = reader.skip(_BEGINNING, stream, offset, self.note)
        return _BEGINNING.place if found is None else found

    def _begin(self) -> None:
        self._places = array("Q", [_BEGINNING.place])
        self._offsets: dict[Stream, array[int]] = {stream: array("Q", [0]) for stream in STREAMS}

    def note(self, mark: Mark) -> int:
        """Here a write begins. Returns from which place on the next mark is wanted."""
        columns = (self._places, *self._offsets.values())
        with self._lock:
            if mark.place >= self._places[-1] + self._spacing:
                for column, number in zip(columns, mark, strict=True):
                    column.append(number)
                if len(self._places) > MOST_MARKS:
                    for column in columns:
                        del column[1::2]
                    self._spacing *= 2
            return max(mark.place, self._places[-1]) + self._spacing
