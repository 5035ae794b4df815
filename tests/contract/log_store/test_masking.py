"""The contract of `runner.logs.base.LogStore`: what is masked before it is written, also when the runner is killed."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream
from tests.contract.log_store.samples import ID, Reopen, masker


def test_secrets_are_masked_across_writes_and_streams_apart(store: LogStore) -> None:
    sink = store.open(ID, masker("hunter2"))
    for piece in (b"pass=hun", b"ter", b"2; hun"):
        sink.write("stdout", piece)
        sink.write("stderr", b"ter2")
    sink.close()
    assert store.read(ID, "stdout") == b"pass=***; hun"
    assert store.read(ID, "stderr") == b"ter2" * 3


def test_a_needle_that_comes_later_masks_what_follows(store: LogStore) -> None:
    mask = masker()
    sink = store.open(ID, mask)
    sink.write("stdout", b"hunter2 ")
    mask.add("hunter2")
    sink.write("stdout", b"hunter2")
    sink.close()
    assert store.read(ID, "stdout") == b"hunter2 ***"


def test_how_far_the_source_was_taken_is_kept(lives: Reopen) -> None:
    sink = lives().open(ID, masker("hunter2"))
    assert sink.taken("stdout") == 0
    sink.write("stdout", b"by the driver itself\n")
    assert sink.taken("stdout") == 0
    sink.write("stdout", b"abc hun", 7)
    sink.write("stderr", b"x", 1)
    sink.write("stdout", b"and again\n")
    again = lives().open(ID, masker("hunter2"))
    assert (again.taken("stdout"), again.taken("stderr")) == (7, 1)
    again.close()
    assert lives().open(ID, masker("hunter2")).taken("stdout") == 7


def test_a_killed_runner_goes_on_in_the_middle_of_a_needle(lives: Reopen) -> None:
    lives().open(ID, masker("hunter2")).write("stdout", b"pass=hun", 8)
    lives().open(ID, masker("hunter2")).write("stdout", b"ter", 11)
    sink = lives().open(ID, masker("hunter2"))
    assert sink.taken("stdout") == 11
    sink.write("stdout", b"2hunter2; hun", 24)
    sink.close()
    assert lives().read(ID, "stdout") == b"pass=***; hun"


def test_what_the_task_asked_to_mask_is_masked_by_the_next_life(lives: Reopen) -> None:
    lives().open(ID, masker()).write("stderr", b"::add-mask::tok%25en-one\n ::add-mask::tok", 40)
    lives().open(ID, masker()).write("stderr", b"en-two\ntok", 50)
    mask = masker()
    sink = lives().open(ID, mask)
    sink.write("stdout", b"tok%en-one ", 11)
    sink.write("stderr", b"en-two tok%en-one", 67)
    sink.close()
    assert lives().read(ID, "stdout") == b"*** "
    assert lives().read(ID, "stderr") == b"::add-mask::***\n ::add-mask::***\n*** ***"
    assert mask.contains("tok%en-one")
    assert mask.contains("token-two")


OUTPUT = st.lists(
    st.sampled_from(
        [
            b"hunter2",
            b"hunt",
            b"er2",
            b"aab",
            b"aa",
            b"\n",
            b" ",
            b"::add-mask::",
            b"::add-m",
            b"ask::late99",
            b"\r\n",
            b"late99",
        ]
    ),
    max_size=25,
).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(output=OUTPUT, data=st.data())
def test_killed_anywhere_the_bytes_are_those_of_an_undisturbed_run(
    lives: Reopen, output: bytes, data: st.DataObject
) -> None:
    """Each piece is read anew from where the log says, with or without a new life before."""
    undisturbed, disturbed = AttemptId("calm", "task", 1), AttemptId("killed", "task", 1)
    for group in ("calm", "killed"):
        lives().delete_group(group)
    sink = lives().open(undisturbed, masker("hunter2", "aaba", "abaab"))
    sink.write("stdout", output, len(output))
    sink.close()
    sink = lives().open(disturbed, masker("hunter2", "aaba", "abaab"))
    while (at := sink.taken("stdout")) < len(output):
        end = data.draw(st.integers(at + 1, len(output)))
        sink.write("stdout", output[at:end], end)
        if data.draw(st.booleans()):
            sink = lives().open(disturbed, masker("hunter2", "aaba", "abaab"))
    sink.close()
    assert lives().read(disturbed, "stdout") == lives().read(undisturbed, "stdout")


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_in_what_is_held_back_for_long(lives: Reopen, seed: int) -> None:
    """A value and an `::add-mask::` line of many small pieces, of which nothing can be told before the end; also where what is held
    back leaves its beginning bit by bit, and on both streams by turns."""
    needle = "".join(f"{number:03}-" for number in range(400))
    periodic = "ab1-" * 300 + "end"
    asked = "".join(f"{number:04}+" for number in range(300))
    written: dict[Stream, bytes] = {
        "stdout": f"say {needle}; {needle[:900]}|{'ab1-' * 500}{periodic}!".encode(),
        "stderr": f"::add-mask::{asked}\nit is {asked} {periodic[:-2]}".encode(),
    }
    chance = random.Random(seed)
    sink = lives().open(ID, masker(needle, periodic))
    left = dict.fromkeys(STREAMS, True)
    while any(left.values()):
        for stream, output in written.items():
            at = sink.taken(stream)
            for end in range(at + 1, min(at + chance.randint(1, 600), len(output)) + 1):
                sink.write(stream, output[end - 1 : end], end)
            left[stream] = sink.taken(stream) < len(output)
        if chance.random() < 0.5:
            sink = lives().open(ID, masker(needle, periodic))
    assert [sink.taken(stream) for stream in STREAMS] == [len(written[stream]) for stream in STREAMS]
    sink.close()
    assert lives().read(ID, "stdout") == f"say ***; {needle[:900]}|{'ab1-' * 500}***!".encode()
    assert lives().read(ID, "stderr") == f"::add-mask::***\nit is *** {periodic[:-2]}".encode()


def test_a_task_asks_to_mask_a_value_on_either_stream(store: LogStore) -> None:
    sink = store.open(ID, masker())
    sink.write("stdout", b"hunter2 ::add-mask::x\n::add-ma")
    sink.write("stderr", b"hunter2\n")
    sink.write("stdout", b"sk::hunter2\nhunter2")
    sink.write("stderr", b"hunter2\n::add-mask::other99")
    sink.close()
    assert store.read(ID, "stdout") == b"hunter2 ::add-mask::x\n::add-mask::***\n***"
    assert store.read(ID, "stderr") == b"hunter2\n***\n::add-mask::***"
