"""A disk that makes holes, and cannot do it at this moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner.logs import holes
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
LIMIT = 64 << 10
PIECE = b"%999d\n" % 7


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_is_full_for_a_moment_does_not_end_the_limit(tmp_path: Path, number: int) -> None:
    refusals = 20

    def punch(descriptor: int, begin: int, end: int) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(number, os.strerror(number))
        holes.punch_hole(descriptor, begin, end)

    store = FileLogStore(tmp_path, sealer=Sealer.ephemeral(), limit=LIMIT, punch=punch, call_soon=lambda tell: None)
    sink = store.open(ID, Masker())
    for _ in range(LIMIT // len(PIECE) + 15):
        sink.write("stdout", PIECE)
    assert not store.gaps(ID)
    for _ in range(200):
        sink.write("stdout", PIECE)
    sink.close()
    assert sink.shortened
    assert store.size("group") < LIMIT + 4 * 4096
    [gap] = store.gaps(ID)
    assert store.read(ID, "stdout", gap.offset + gap.bytes, 1 << 20).endswith(PIECE)
