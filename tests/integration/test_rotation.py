"""A new sealing key in the place of the old one: nothing is lost, wherever that is cut off, and nothing of the old one is left."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from runner import rotation, sealing
from runner.backup.taking import take
from runner.errors import SealError, StateLockedError, UsageError
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.rotation import rotate
from runner.sealing import Sealer
from runner.store.sqlite import SqliteStore
from runner.v1 import runner_pb2 as pb
from tests.rpc import Desk, command, desk, document

pytestmark = pytest.mark.timeout(120)

TASK = command(
    "t",
    'echo "::add-mask::asked-to-mask"; echo "token=made-$PASSWORD" >> $OUTPUT_FILE',
    exports=[{"name": "token", "confidential": True, "scope": "global"}],
)
TASK["spec"]["envs"] = {"PASSWORD": "{{ .inputs.password }}"}
INPUTS = {"password": {"confidential": True, "default": "swordfish-1"}}
GIVEN = {"given": {"password": "hunter2-hunter2"}, "default": {}}

CUT_OFF = """
import os, sys
from pathlib import Path
from runner.rotation import rotate

left = int(sys.argv[2])
CALLS = {"execute", "executemany", "link", "unlink", "replace", "fsync", "pwrite", "write", "open"}

def count(frame, event, function):
    global left
    if event == "c_call" and function.__name__ in CALLS:
        left -= 1
        if left < 0:
            os._exit(9)

sys.setprofile(count)
rotate(Path(sys.argv[1]))
"""


async def submit(at: Desk, id: str) -> pb.SubmitTaskGroupResponse:
    return await at.stub.SubmitTaskGroup(
        pb.SubmitTaskGroupRequest(document=document(TASK, inputs=INPUTS), id=id, inputs=GIVEN[id])
    )


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """Of a node that has done some work, and does not run."""
    folder = tmp_path / "state"
    async with desk(folder) as at:
        for id in GIVEN:
            await submit(at, id)
            await at.watched(id)
    return folder


async def check(state: Path) -> None:
    """Everything is there, and what was submitted is known."""
    async with desk(state) as at:
        for id, inputs in GIVEN.items():
            answer = await at.get(id, reveal=True)
            assert answer.tasks[0].outputs["token"].text == f"made-{inputs.get('password', 'swordfish-1')}"
            assert (await submit(at, id)).existed
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await at.stub.SubmitTaskGroup(
                pb.SubmitTaskGroupRequest(document=document(TASK, inputs=INPUTS), id="given", inputs={"password": "x"})
            )
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def traces_of(key_id: str, folder: Path) -> list[str]:
    """The files in which there is something that is sealed with this key."""
    header = bytes([sealing.VERSION]) + bytes.fromhex(key_id)
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and (header in (data := path.read_bytes()) or base64.b64encode(header) in data)
    ]


def cut_off(state: Path, after: int) -> int:
    """Rotate in a process that is ended after so many calls; its exit status."""
    return subprocess.run([sys.executable, "-c", CUT_OFF, state, str(after)], timeout=60, check=False).returncode


async def test_what_was_run_again_is_no_work_of_another_version(state: Path) -> None:
    async with desk(state) as at:
        again = await at.stub.RerunTaskGroup(pb.RerunTaskGroupRequest(id="given", tasks=["t"]))
        await at.watched(again.id)
    done = rotate(state)
    assert (done.groups, done.unknown) == (3, [])
    async with desk(state) as at:
        assert (await at.get(again.id, reveal=True)).tasks[0].outputs["token"].text == "made-hunter2-hunter2"


async def test_all_is_sealed_anew(state: Path) -> None:
    former = Sealer.open_or_create(state / "key").key_id
    assert sorted(traces_of(former, state)) == ["state.db", "t.1.log", "t.1.log"]
    done = rotate(state)
    assert (done.former, done.key, done.resumed) == (former, Sealer.open_or_create(state / "key").key_id, False)
    assert (done.groups, done.values, done.in_use, done.unknown) == (2, 6, [], [])
    assert done.held_back >= 2
    assert traces_of(former, state) == []
    assert not sealing.former_key(state / "key").exists()
    await check(state)
    assert rotate(state).values == 6


async def test_wherever_it_is_cut_off_nothing_is_lost(state: Path, tmp_path: Path) -> None:
    former = Sealer.open_or_create(state / "key").key_id
    number = 0
    while True:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(state, copy, ignore=shutil.ignore_patterns("*.sock"))
        status = cut_off(copy, number)
        if number % 40 == 0:
            await check(copy)  # before it is brought to its end
        if status == 0:
            break
        assert status == 9
        rotate(copy)
        assert traces_of(former, copy) == []
        if number % 40 == 20:
            await check(copy)
        number += 10
    assert number > 50


async def test_what_a_killed_one_has_left_still_opens_and_its_submissions_are_known(state: Path) -> None:
    former = Sealer.open_or_create(state / "key").key_id
    assert rotation._begin(state / "key")
    await check(state)
    async with desk(state) as at:
        await submit(at, "given")
        new = command("new", "true")
        await at.watched(await at.submit(new, id="new"))
    done = rotate(state)
    assert (done.former, done.resumed, done.groups) == (former, True, 3)
    assert traces_of(former, state) == []
    await check(state)


async def test_not_while_a_node_runs(state: Path) -> None:
    async with desk(state):
        with pytest.raises(StateLockedError, match="in use by another runner"):
            rotate(state)
    assert not sealing.former_key(state / "key").exists()


async def test_runs_that_are_in_use_are_left_for_later(tmp_path: Path) -> None:
    for name in ("a", "b"):
        async with desk(tmp_path / "runs" / name) as at:
            await submit(at, "given")
            await at.watched("given")
        if name == "a":
            shutil.copy(tmp_path / "runs" / "a" / "key", tmp_path / "key")
            (tmp_path / "runs" / "b").mkdir(mode=0o700)
            shutil.copy(tmp_path / "key", tmp_path / "runs" / "b" / "key")
    former = Sealer.open_or_create(tmp_path / "key").key_id
    async with desk(tmp_path / "runs" / "b") as at:
        done = rotate(tmp_path)
        assert (done.groups, done.in_use) == (1, ["b"])
        assert sealing.former_key(tmp_path / "key").exists()
    assert traces_of(former, tmp_path / "runs" / "a") == []
    assert traces_of(former, tmp_path / "runs" / "b") != []
    with pytest.raises(
        UsageError, match=r"^the key of .* is being replaced: let `runner secrets rotate` come to its end first$"
    ):
        take(tmp_path, io.BytesIO(), with_key=True, now=0.0)
    done = rotate(tmp_path)
    assert (done.resumed, done.groups, done.in_use) == (True, 2, [])
    assert traces_of(former, tmp_path / "runs") == []


async def test_a_digest_of_something_else_is_told(state: Path) -> None:
    store = SqliteStore.open(state / "state.db", call_soon_threadsafe=lambda callback: callback())
    record = store.group("given")
    assert record is not None
    store.reseal("given", "another", record.group.inputs, {})
    store.close()
    assert rotate(state).unknown == ["given"]


def test_without_a_key_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no sealing key"):
        rotate(tmp_path)


def test_a_log_goes_on_under_the_new_key(tmp_path: Path) -> None:
    old, new = b"o" * sealing.KEY_BYTES, b"n" * sealing.KEY_BYTES
    id = AttemptId("g", "t", 1)

    def said(sealer: Sealer, *pieces: bytes) -> bytes:
        store = FileLogStore(tmp_path, sealer=sealer)
        masker = Masker()
        masker.add("hunter2-hunter2")
        sink = store.open(id, masker)
        for piece in pieces:
            sink.write("stdout", piece)
        store.close()  # killed: what is held back was never flushed
        return store.read(id, "stdout")

    assert said(Sealer(old), b"x hunter2") == b"x "
    with pytest.raises(SealError):
        Sealer(new).unseal(Sealer(old).seal(b"", "c"), "c")
    assert FileLogStore(tmp_path, sealer=Sealer(new, former=old)).reseal(id) == 1
    assert FileLogStore(tmp_path, sealer=Sealer(new, former=old)).reseal(id) == 0
    assert said(Sealer(new), b"-hunter2 y\n") == b"x *** y\n"
