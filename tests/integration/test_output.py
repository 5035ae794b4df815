"""Output of real processes, through the supervisor into a log on disk, to the byte."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream
from runner.process import descriptors
from runner.process.host import SupervisorHost
from runner.process.output import CopyingReader, PlainReader
from runner.sealing import Sealer
from tests import apart
from tests.contract.process_labs import program

ID = AttemptId("group", "task", 1)

# Lines of all lengths, some of them long, invalid UTF-8 and NUL bytes in them, on both streams; the same for the same seed.
NOISE = """
import hashlib, os, random, sys
chance = random.Random(int(sys.argv[1]))
left = int(sys.argv[2])
digests = [hashlib.sha256(), hashlib.sha256()]
while left > 0:
    size = min(left, int(chance.paretovariate(0.6)) % 300_000 + 1)
    data = chance.randbytes(size)
    index = chance.random() < 0.2
    digests[index].update(data)
    left -= size
    while data:
        data = data[os.write(1 + index, data):]
"""


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "logs", sealer=Sealer.ephemeral())


def expected(seed: int, size: int) -> dict[Stream, str]:
    scope: dict[str, object] = {}
    former = sys.argv
    sys.argv = ["noise", str(seed), str(size)]
    try:
        exec(NOISE.replace("data[os.write(1 + index, data):]", "b''"), scope)
    finally:
        sys.argv = former
    digests = scope["digests"]
    assert isinstance(digests, list)
    return dict(zip(STREAMS, [digest.hexdigest() for digest in digests], strict=True))


def digest(store: FileLogStore, id: AttemptId, stream: Stream) -> str:
    found, offset = hashlib.sha256(), 0
    while data := store.read(id, stream, offset):
        found.update(data)
        offset += len(data)
    return found.hexdigest()


async def told(host: SupervisorHost, store: FileLogStore, id: AttemptId, argv: list[str], masker: Masker) -> int:
    sink = store.open(id, masker)
    process = await host.spawn(str(id), program(argv), sink)
    exit = await process.wait()
    sink.close()
    await host.forget(str(id))
    return exit.exit_code


@pytest.mark.parametrize("missing", [(), ("tee",)], ids=["with tee", "without"])
def test_a_hundred_megabytes_of_anything_in_bounded_memory(
    store: FileLogStore, tmp_path: Path, missing: tuple[str, ...], require: Callable[[str], None]
) -> None:
    if missing:
        require("seccomp")
    size = 10_000_000 if missing else 100_000_000

    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert await told(host, store, ID, [sys.executable, "-c", NOISE, "7", str(size)], Masker()) == 0
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB

    apart.run(lambda: asyncio.run(main()), *[apart.without(name) for name in missing])
    assert {stream: digest(store, ID, stream) for stream in STREAMS} == expected(7, size)


def test_many_that_write_at_once(store: FileLogStore, tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            ids = [ID._replace(attempt=number) for number in range(60)]
            argv = [sys.executable, "-S", "-c", NOISE]
            masker = Masker()
            masker.add("never said")
            codes = await asyncio.gather(
                *[told(host, store, id, [*argv, str(id.attempt), "300000"], masker) for id in ids]
            )
            assert codes == [0] * len(ids)
            for id in ids:
                assert {stream: digest(store, id, stream) for stream in STREAMS} == expected(id.attempt, 300_000)

    asyncio.run(main())


def test_a_thousand_at_once(store: FileLogStore, tmp_path: Path) -> None:
    """All of them are there, and have written, before the first one goes on."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    ids = [ID._replace(attempt=number) for number in range(1000)]

    def work() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        descriptors.use_all()
        asyncio.run(main())

    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            waiting = set(ids)
            all_wait = asyncio.Event()

            def look(id: AttemptId) -> None:
                if store.read(id, "stdout") and store.read(id, "stderr"):
                    waiting.discard(id)
                if not waiting:
                    all_wait.set()

            store.subscribe(look)
            script = f"echo one; echo two >&2; read line < {gate}; echo three; echo four >&2"
            running = [asyncio.ensure_future(told(host, store, id, ["sh", "-c", script], Masker())) for id in ids]
            await all_wait.wait()
            with gate.open("wb") as opened:
                opened.write(b"\n" * len(ids))  # a shell reads its line byte by byte
                opened.flush()
                assert await asyncio.gather(*running) == [0] * len(ids)

    apart.run(work)
    for id in ids:
        assert store.read(id, "stdout") == b"one\nthree\n"
        assert store.read(id, "stderr") == b"two\nfour\n"


def test_a_line_of_ten_megabytes_and_no_end_of_line(store: FileLogStore, tmp_path: Path) -> None:
    masker = Masker()
    masker.add("hunter2-is-long")

    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            script = (
                "head -c 10000000 /dev/zero | tr '\\0' x; printf hunter2-; sleep 0.1; printf is-long; printf hunter2-i"
            )
            assert await told(host, store, ID, ["sh", "-c", script], masker) == 0

    asyncio.run(main())
    assert store.read(ID, "stdout", 0, 20_000_000) == b"x" * 10_000_000 + b"***hunter2-i"


ACROSS = """
import os
for number in range(400):
    ask, say = (1, 2) if number % 2 else (2, 1)
    os.write(ask, b"::add-mask::token-%d-token\\n" % number)
    os.write(say, b"it is token-%d-token\\n" % number)
"""


@pytest.mark.parametrize("missing", [(), ("tee",)], ids=["with tee", "without"])
def test_what_one_stream_asks_to_mask_is_never_shown_by_the_other(
    store: FileLogStore, tmp_path: Path, missing: tuple[str, ...], require: Callable[[str], None]
) -> None:
    if missing:
        require("seccomp")
    masker = Masker()
    shown: list[bytes] = []

    def look(id: AttemptId) -> None:
        shown.extend(frame.data for frame in store.frames(id) if b"token-" in frame.data)

    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            store.subscribe(look)
            assert await told(host, store, ID, [sys.executable, "-S", "-c", ACROSS], masker) == 0

        assert shown == []
        assert store.read(ID, "stdout") == b"it is ***\n::add-mask::***\n" * 200
        assert store.read(ID, "stderr") == b"::add-mask::***\nit is ***\n" * 200
        assert not store.redact(ID, masker)

    apart.run(lambda: asyncio.run(main()), *[apart.without(name) for name in missing])


@pytest.mark.parametrize("kind", [CopyingReader, PlainReader])
def test_what_a_stream_asks_to_mask_that_has_said_nothing_yet(
    store: FileLogStore, tmp_path: Path, kind: type[CopyingReader | PlainReader]
) -> None:
    """It asks for it after the runner has heard of the other stream, and before it reads that."""
    done = tmp_path / "done"
    script = f"echo hello; sleep 0.05; echo ::add-mask::a-token >&2; echo it is a-token; echo > {done}; sleep 1000"
    shown: list[bytes] = []

    class LateReader(kind):  # type: ignore[misc,valid-type]  # mypy: either of two classes
        def read(self, descriptor: int, limit: int) -> bytes:
            stand_still_until(done)
            return bytes(super().read(descriptor, limit))

    class LateHost(SupervisorHost):
        make_reader = staticmethod(LateReader)

    async def main() -> None:
        async with asyncio.timeout(50), await LateHost.start_private(tmp_path / "state") as host:
            store.subscribe(lambda id: shown.extend(frame.data for frame in store.frames(id)))
            sink = store.open(ID, Masker())
            await host.spawn("k", program(["sh", "-c", script]), sink)
            while not any(b"it is" in data for data in shown):  # noqa: ASYNC110 - it tells nobody else
                await asyncio.sleep(0.005)

    asyncio.run(main())
    assert not any(b"a-token" in data for data in shown)
    assert store.read(ID, "stdout") == b"hello\nit is ***\n"


def stand_still_until(path: Path) -> None:
    while not path.exists():
        os.sched_yield()


def test_a_process_whose_pipe_is_found_full_gets_a_larger_one(store: FileLogStore, tmp_path: Path) -> None:
    """So that a megabyte finds room while the runner is busy."""
    full, go, done = (tmp_path / name for name in ("full", "go", "done"))
    os.mkfifo(go)
    script = f"head -c 65536 /dev/zero; echo > {full}; read line < {go}; head -c 900000 /dev/zero; echo > {done}"

    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            sink = store.open(ID, Masker())
            process = await host.spawn("k", program(["sh", "-c", script]), sink)
            stand_still_until(full)
            while len(store.read(ID, "stdout")) < 65536:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)
            await host.list()  # behind what was consumed
            go.write_text("\n")
            stand_still_until(done)
            await process.wait()
            sink.close()

    asyncio.run(main())
    assert store.read(ID, "stdout", 0, 2_000_000) == bytes(965_536)


def test_a_pipe_that_cannot_be_read_keeps_no_process_from_ending(store: FileLogStore, tmp_path: Path) -> None:
    class BrokenReader(CopyingReader):
        def read(self, descriptor: int, limit: int) -> bytes:
            raise OSError(5, "Input/output error")

    class BrokenHost(SupervisorHost):
        make_reader = staticmethod(BrokenReader)

    async def main() -> None:
        async with asyncio.timeout(50), await BrokenHost.start_private(tmp_path / "state") as host:
            with pytest.raises(OSError, match="Input/output error"):
                await told(host, store, ID, ["sh", "-c", "head -c 300000 /dev/zero; echo >&2"], Masker())
            await host.forget(str(ID))

    asyncio.run(main())


def test_without_a_free_descriptor_output_waits(store: FileLogStore, tmp_path: Path) -> None:
    attempts = iter([True, True, False])

    def reader() -> CopyingReader:
        if next(attempts):
            raise OSError(24, "Too many open files")
        return CopyingReader()

    class PoorHost(SupervisorHost):
        make_reader = staticmethod(reader)

    async def main() -> None:
        async with asyncio.timeout(50), await PoorHost.start_private(tmp_path / "state") as host:
            assert await told(host, store, ID, ["sh", "-c", "echo here"], Masker()) == 0

    asyncio.run(main())
    assert store.read(ID, "stdout") == b"here\n"


NUMBERS = """
import os
for start in range(0, 60_000_000, 16_000):
    data = b"".join(b"%015d\\n" % at for at in range(start, start + 16_000, 16))
    while data:
        data = data[os.write(1, data):]
"""


def test_a_flood_is_kept_below_its_limit_and_shows_head_and_tail(store: FileLogStore, tmp_path: Path) -> None:
    """Every line tells its offset."""
    most = 0

    def look(id: AttemptId) -> None:
        nonlocal most
        [file] = (tmp_path / "logs").rglob("*.log")
        most = max(most, file.stat().st_blocks * 512)

    async def main() -> None:
        async with asyncio.timeout(50), await SupervisorHost.start_private(tmp_path / "state") as host:
            store.subscribe(look)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            sink = store.open(ID, Masker())
            sink.limit(4 << 20)
            process = await host.spawn("k", program([sys.executable, "-S", "-c", NUMBERS]), sink)
            assert (await process.wait()).exit_code == 0
            sink.close()
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB

    asyncio.run(main())
    [gap] = store.gaps(ID)
    end = gap.offset + gap.bytes
    head, tail = store.read(ID, "stdout", 0, 1 << 30), store.read(ID, "stdout", end, 1 << 30)
    assert len(head) == gap.offset > 800_000
    assert end + len(tail) == 60_000_000
    assert len(tail) > 1_000_000
    assert most < (4 << 20) + (600 << 10)
    for first, data in ((0, head), (end, tail)):
        whole = data[-first % 16 :]
        start = first + -first % 16
        lines = [int(line) for line in whole[: len(whole) // 16 * 16].split()]
        assert lines == [*range(start, start + 16 * len(lines), 16)]
