"""The form of a backup: what goes in comes out, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import subprocess
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from runner.backup import archive
from runner.backup.archive import FIRST, LAST, Heading, Writer, unpack
from runner.errors import BackupError

HEADING = Heading(version="1.2.3", taken_at="2026-01-31T09:30:00Z", node="n", key="k")
LOG = "logs/g/t.1.log"


def unpacked(data: bytes, folder: Path) -> Heading:
    folder.mkdir()
    return unpack(partial(io.BytesIO(data).read, 1000), folder)


def backup(folder: Path, *names: str, head: int = 0) -> bytes:
    target = io.BytesIO()
    writer = Writer(target, HEADING)
    for name in names:
        assert writer.add(name, folder / name, head=head)
    writer.finish()
    return target.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    choose = random.Random(1)
    for name, size in (("state.db", 300_000), (LOG, 70_000), ("tokens/00ff.json", 0), ("runs/r-1/state.db", 1)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(choose.randbytes(size))
    return folder


ALL = ("state.db", LOG, "tokens/00ff.json", "runs/r-1/state.db")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("head", [0, 112])
def test_what_goes_in_comes_out(source: Path, tmp_path: Path, head: int) -> None:
    data = backup(source, *ALL, head=head)
    assert unpacked(data, tmp_path / "to") == HEADING
    assert contents(tmp_path / "to") == contents(source)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "to").rglob("*")} == {0o600, 0o700}


def test_every_system_can_look_into_it_and_check_it(source: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(backup(source, *ALL))
    (tmp_path / "to").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "b.tar", "-C", tmp_path / "to"], check=True)
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", LAST], cwd=tmp_path / "to", check=True)


def test_holes_stay_holes(source: Path, tmp_path: Path) -> None:
    size = 64 << 20
    with open(source / LOG, "r+b") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), b"end", size - 3)
    data = backup(source, LOG, head=112)
    assert len(data) < 200_000
    unpacked(data, tmp_path / "to")
    copy = tmp_path / "to" / LOG
    assert copy.stat().st_size == size
    assert copy.stat().st_blocks < 1000
    subprocess.run(["cmp", source / LOG, copy], check=True)


def test_what_grows_is_taken_as_far_as_it_went_and_what_shrinks_ends_in_zeros(source: Path, tmp_path: Path) -> None:
    class Meddler(io.BytesIO):
        """Changes the file once the first of it is written."""

        def __init__(self, change: Callable[[], None]) -> None:
            super().__init__()
            self.change = change

        def write(self, data: object) -> int:
            if self.tell() > 20_000:
                self.change()
            return super().write(data)  # type: ignore[arg-type]  # as above

    before = (source / LOG).read_bytes()
    for size in (len(before) * 12, len(before)):
        (source / LOG).write_bytes(before * 10)
        target = Meddler(partial(os.truncate, source / LOG, size))
        writer = Writer(target, HEADING)
        writer.add(LOG, source / LOG)
        writer.finish()
        unpacked(target.getvalue(), tmp_path / f"{size}")
        copy = (tmp_path / f"{size}" / LOG).read_bytes()
        assert len(copy) == len(before) * 10
        assert copy.startswith(before)


def test_what_is_gone_is_left_out(source: Path, tmp_path: Path) -> None:
    writer = Writer(io.BytesIO(), HEADING)
    assert not writer.add("state.db", source / "gone")
    (source / "link").symlink_to("state.db")
    with pytest.raises(OSError, match="symbolic"):
        writer.add("state.db", source / "link")


def test_every_cut_and_every_altered_byte_is_noticed(source: Path, tmp_path: Path) -> None:
    (source / "state.db").write_bytes(b"x" * 2000)
    data = backup(source, "state.db", "tokens/00ff.json")
    choose = random.Random(2)
    end = data.index(LAST.encode())  # behind the last digest tar has nothing but zeros
    for number in range(300):
        cut = data[: choose.randrange(end + 500)]
        with pytest.raises(BackupError):
            unpacked(cut, tmp_path / f"cut{number}")
    for number in range(300):
        at = choose.randrange(end)
        altered = bytearray(data)
        altered[at] ^= 1 << choose.randrange(8)
        try:
            heading = unpacked(bytes(altered), tmp_path / f"altered{number}")
        except BackupError:
            continue
        # Not all of a tar's header says something: its padding, or the mode of a file.
        assert heading == HEADING
        assert contents(tmp_path / f"altered{number}") == {"state.db": b"x" * 2000, "tokens/00ff.json": b""}


@pytest.mark.parametrize("data", [b"", b"x", b"SQLite format 3\0" * 1000, bytes(10_240), b"\x1f\x8b" + bytes(5000)])
def test_what_is_no_backup(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BackupError, match="it is no backup of a runner"):
        unpacked(data, tmp_path / "to")


def hostile(*members: tuple[tarfile.TarInfo, bytes], heading: bytes | None = None, end: bool = True) -> bytes:
    """With right digests, as somebody who means harm would make it."""
    target = io.BytesIO()
    digests = ""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        first = heading or b'{"version":"1.2.3","taken_at":"2026-01-31T09:30:00Z"}'
        for info, data in ((tarfile.TarInfo(FIRST), first), *members):
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            digests += f"{hashlib.sha256(data).hexdigest()}  {info.name}\n"
        if end:
            info = tarfile.TarInfo(LAST)
            info.size = len(digests)
            tar.addfile(info, io.BytesIO(digests.encode()))
    return target.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **pax: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.pax_headers = {f"RUNNER.{key}": value for key, value in pax.items()}
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", "logs/../../evil/x.1.log", "logs/../x.1.log", "logs/g/../../state.db", "state.db/x", "logs/g/t.log",
        "logs/.removed-1/t.1.log", "runs/../state.db", "runs/.x/state.db", "key/", "tokens/../key", "tokens/x.json", "node", "restored",
        "STATE.DB", "logs/g/t.1.log\n", "", "runner.sock", "logs//t.1.log", "./state.db", "state.db-wal",
    ],
)  # fmt: skip
def test_no_other_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(BackupError, match="which is nothing of a runner's"):
        unpacked(hostile((member(name), b"x")), tmp_path / "to")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_no_other_kinds_of_files(tmp_path: Path, kind: bytes) -> None:
    data = hostile((member("state.db", kind, "/etc/passwd"), b""), (member("state.db"), b"x"))
    with pytest.raises(BackupError, match="which is nothing of a runner's"):
        unpacked(data, tmp_path / "to")


@pytest.mark.parametrize(
    ("places", "size"),
    [
        ("0:1,0:1", "2"), ("0:2", "1"), ("5:2", "6"), ("0:1", "2"), ("0:3", "3"), ("-1:2", "9"), ("0:2", "x"), ("", "2"),
        ("0:2", "9" * 19), ("0:1,1:1,", "2"), ("0:2", "-2"), ("9223372036854775807:2", "9" * 18), ("a:b", "2"), ("0:2", ""),
    ],
)  # fmt: skip
def test_places_that_do_not_fit(tmp_path: Path, places: str, size: str) -> None:
    with pytest.raises(BackupError, match="it is damaged: the places"):
        unpacked(hostile((member(LOG, places=places, size=size), b"ab")), tmp_path / "to")


def test_other_things_that_are_wrong(tmp_path: Path) -> None:
    digest = hashlib.sha256(b'{"version":"1.2.3","taken_at":"2026-01-31T09:30:00Z"}').hexdigest()
    wrong = {
        "it holds 'state.db' twice": hostile((member("state.db"), b"a"), (member("state.db"), b"b")),
        "its end is missing": hostile((member("state.db"), b"a"), end=False),
        "use a newer runner": hostile(heading=b'{"format":2,"version":"9.0","taken_at":"x","more":1}'),
        f"it is damaged: {FIRST} cannot be read (": hostile(heading=b"[]"),
        "not what it should be": hostile((member(LAST, tarfile.SYMTYPE, "x"), b"")),
        "something of it is missing": hostile((member(LAST), f"{digest}  {FIRST}\n0  more\n".encode())),
        "state.db is not what it was": hostile(
            (member("state.db"), b"a"), (member(LAST), f"{digest}  {FIRST}\n0  state.db\n".encode())
        ),
    }  # fmt: skip
    for number, (told, data) in enumerate(wrong.items()):
        with pytest.raises(BackupError, match=re.escape(told)):
            unpacked(data, tmp_path / str(number))


def test_a_header_without_end(tmp_path: Path) -> None:
    data = hostile((member(LOG, places="0:1," * 500_000, size="1"), b"a"))
    with pytest.raises(BackupError, match="a header of"):
        unpacked(data, tmp_path / "to")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME], ids=["x", "g", "L"])
def test_headers_without_end(source: Path, tmp_path: Path, kind: bytes) -> None:
    info, content = tarfile.TarInfo("p"), b"12 path=abc\n"
    info.type, info.size = kind, len(content)
    header = info.tobuf(tarfile.GNU_FORMAT) + content + bytes(tarfile.BLOCKSIZE - len(content))
    with pytest.raises(BackupError, match="no backup"):
        unpacked(header * 3000 + backup(source, *ALL), tmp_path / "first")
    whole = backup(source, *ALL)
    begin = whole.index(b"state.db") // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
    with pytest.raises(BackupError, match="it is cut off or damaged: it has a header of"):
        unpacked(whole[:begin] + header * 3000 + whole[begin:], tmp_path / "later")


def test_a_size_below_nothing(tmp_path: Path) -> None:
    info = member(LOG)
    info.pax_headers = {"size": "-5"}
    with pytest.raises(BackupError, match="size below 0"):
        unpacked(hostile((info, b"a")), tmp_path / "to")


def test_a_file_of_very_many_parts_is_taken_whole(source: Path, tmp_path: Path) -> None:
    with open(source / LOG, "wb") as file:
        for number in range(archive.MOST_PARTS + 100):
            os.pwrite(file.fileno(), b"x" * 4096, number * 65536)
    unpacked(backup(source, LOG), tmp_path / "to")
    subprocess.run(["cmp", source / LOG, tmp_path / "to" / LOG], check=True)
