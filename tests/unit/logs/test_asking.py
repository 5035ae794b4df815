"""A task that asks to mask again and again: what that leaves in its log, and what the next life of the runner has to read."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from runner.logs import framing
from runner.logs.files import FileLogStore
from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer

ID = AttemptId("group", "task", 1)
SEALER = Sealer.ephemeral()


@pytest.mark.parametrize("value", [b"token-one", b"x", b"y" * (70 << 10)], ids=["one value", "too short", "too long"])
def test_what_is_asked_for_again_is_kept_once(tmp_path: Path, value: bytes) -> None:
    store = FileLogStore(tmp_path, sealer=SEALER, call_soon=lambda callback: None)
    sink = store.open(ID, Masker())
    line = b"::add-mask::" + value + b"\n"
    sizes, end = [0], 0
    for _ in range(20):
        end += len(line)
        sink.write("stdout", line, end)
        sizes.append(store._path(ID).stat().st_size)
    shown = framing.FRAME_HEADER_BYTES + len(b"::add-mask::***\n")
    assert {after - before for before, after in itertools.pairwise(sizes[2:])} == {shown}
    store.close()
    refused: list[str | None] = []
    masker = Masker()
    masker.on_refused = refused.append
    sink = FileLogStore(tmp_path, sealer=SEALER, call_soon=lambda callback: None).open(ID, masker)
    assert sink.taken("stdout") == end
    assert masker.contains("token-one") is (value == b"token-one")
    assert len(refused) == (value != b"token-one")
    before = store._path(ID).stat().st_size
    sink.write("stdout", line, end + len(line))
    assert store._path(ID).stat().st_size - before == shown, "nor by the next life"
    sink.close()


def test_each_stream_tells_what_it_was_asked() -> None:
    """The one may have been looked at before, while the runner was killed before it was written."""
    store = MemoryLogStore(call_soon=lambda callback: None)
    sink = store.open(ID, Masker())
    sink.foresee("stderr", b"::add-mask::token-one\n")
    sink.write("stdout", b"::add-mask::token-one\n::add-mask::token-one\n", 44)
    sink.write("stderr", b"::add-mask::token-one\n", 22)
    assert [progress.asked for progress in store.known(ID).values()] == [("token-one",), ("token-one",)]
