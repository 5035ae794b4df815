"""What the tests of the log store's files share."""

from __future__ import annotations

from pathlib import Path

from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()


def write(store: FileLogStore, *pieces: bytes) -> Path:
    sink = store.open(ID, Masker())
    for piece in pieces:
        sink.write("stdout", piece)
    sink.close()
    return file_of(store)


def file_of(store: FileLogStore) -> Path:
    return store._path(ID)
