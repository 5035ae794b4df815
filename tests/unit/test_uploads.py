"""Tar streams of strangers."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import GroupNotFoundError, LimitError, StoreFullError, UsageError
from runner.uploads import Allowance, Tape, unpack
from runner.workspaces import FORSAKEN_SECONDS, MOST_UNCLAIMED, UNCLAIMED_SECONDS, Workspaces

PLENTY = Allowance(bytes=10_000_000, entries=1000)
Entry = tuple[str, bytes, str, str, int]


def reader(data: bytes, piece: int = 1000) -> Callable[[], bytes]:
    pieces: Iterator[bytes] = (data[start : start + piece] for start in range(0, len(data), piece))
    return lambda: next(pieces, b"")


def tar(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as made:
        for entry in entries:
            info, data = entry if isinstance(entry, tuple) else (entry, b"")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return target.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("piece", [1, 511, 512, 100_000])
def test_what_comes_out(tmp_path: Path, format: int, piece: int) -> None:
    data = tar(
        entry(".", tarfile.DIRTYPE, mode=0o755),
        entry("./src", tarfile.DIRTYPE, mode=0o500),
        (entry("./src/main.sh", mode=0o755), b"#!/bin/sh\n" * 3000),
        (entry("deep/er/file"), b""),
        (entry("x" * 90), b"1" * 512),
        entry("link", tarfile.SYMTYPE, "src/main.sh"),
        entry("src/up", tarfile.SYMTYPE, "../deep/er"),
        format=format,
    )
    where = folder(tmp_path)
    unpacked = unpack(reader(data, piece), where, PLENTY)
    assert (unpacked.bytes, unpacked.entries) == (
        30_512,
        9,
    )  # deep and deep/er have no entry, and are there all the same
    assert (where / "link").read_bytes() == b"#!/bin/sh\n" * 3000
    assert (where / "src" / "up" / "file").read_bytes() == b""
    assert stat.S_IMODE((where / "src" / "main.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((where / "src").stat().st_mode) == 0o700  # or nobody could remove it


def test_long_names(tmp_path: Path) -> None:
    name = "/".join(["d" * 100] * 5)
    where = folder(tmp_path)
    unpack(reader(tar((entry(name), b"x"))), where, PLENTY)
    assert (where / name).read_bytes() == b"x"


ESCAPES = {
    "up": [entry("../evil")],
    "up within": [entry("a/../../evil")],
    "absolute": [entry("/etc/evil")],
    "link out": [entry("a", tarfile.SYMTYPE, "../..")],
    "link absolute": [entry("a", tarfile.SYMTYPE, "/etc")],
    "link through a link": [entry("d", tarfile.SYMTYPE, "."), entry("x", tarfile.SYMTYPE, "d/..")],
    "chain of links": [
        entry("a/b/c", tarfile.DIRTYPE),
        entry("l", tarfile.SYMTYPE, "a/b/c"),
        entry("a/b/c/m", tarfile.SYMTYPE, "../../../l/../../../.."),
    ],
    "write through a link": [entry("a", tarfile.SYMTYPE, "/tmp"), (entry("a/evil"), b"x")],
    "hard link": [(entry("a"), b"x"), entry("b", tarfile.LNKTYPE, "a")],
    "hard link out": [entry("b", tarfile.LNKTYPE, "/etc/passwd")],
    "device": [entry("null", tarfile.CHRTYPE)],
    "pipe": [entry("pipe", tarfile.FIFOTYPE)],
    "twice": [(entry("a"), b"x"), (entry("a"), b"y")],
    "link over a file": [(entry("a"), b"x"), entry("a", tarfile.SYMTYPE, "b")],
    "file below a file": [(entry("a"), b"x"), (entry("a/b"), b"y")],
    "folder over a file": [(entry("a"), b"x"), entry("a", tarfile.DIRTYPE)],
    "a part of a name that is too long": [(entry("n" * 300), b"x")],
    "too deep": [(entry("d/" * 300 + "f"), b"x")],
}


@pytest.mark.parametrize("entries", ESCAPES.values(), ids=ESCAPES)
def test_nothing_outside_is_touched(tmp_path: Path, entries: list[tarfile.TarInfo]) -> None:
    before = [*sorted(os.listdir(tmp_path)), "in"]
    where = folder(tmp_path)
    with pytest.raises(UsageError, match="workspace"):
        unpack(reader(tar(*entries)), where, PLENTY)
    assert sorted(os.listdir(tmp_path)) == sorted(before)
    assert not Path("/etc/evil").exists()
    assert not Path("/tmp/evil").exists()


def test_limits(tmp_path: Path) -> None:
    small = Allowance(bytes=1000, entries=3)
    with pytest.raises(LimitError) as caught:
        unpack(reader(tar((entry("a"), b"x" * 600), (entry("b"), b"x" * 401))), folder(tmp_path), small)
    assert caught.value.limit == 1000
    with pytest.raises(LimitError):
        unpack(reader(tar(*(entry(f"d{n}", tarfile.DIRTYPE) for n in range(4)))), tmp_path / "in", small)


def test_folders_that_a_name_implies_count(tmp_path: Path) -> None:
    data = tar((entry("a/b/c/d"), b""), entry("a/b", tarfile.DIRTYPE), entry("a/l", tarfile.SYMTYPE, "b"))
    assert unpack(reader(data), folder(tmp_path), Allowance(bytes=0, entries=5)).entries == 5
    for name, sent, allowed in (("files", data, 4), ("links", tar(entry("a/b/c", tarfile.SYMTYPE, "b")), 2)):
        where = tmp_path / name
        where.mkdir()
        with pytest.raises(LimitError, match=f"more than {allowed} files and folders"):
            unpack(reader(sent), where, Allowance(bytes=0, entries=allowed))


KINDS = {"pax": b"x", "pax for all": b"g", "long name": b"L", "long link": b"K"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_headers_that_do_not_end(tmp_path: Path, kind: bytes) -> None:
    def before_a_file(content: bytes, times: int) -> bytes:
        info = entry("p", kind)
        info.size = len(content)
        one = info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
        return one * times + entry("f").tobuf() + bytes(2 * tarfile.BLOCKSIZE)

    small, large = b"12 path=abc\n", b"900015 comment=" + b"x" * 899_999 + b"\n"
    assert unpack(reader(before_a_file(small, 5)), folder(tmp_path), PLENTY).entries == 1
    where = tmp_path / "none"
    where.mkdir()
    for content, times in ((small, 100), (small, 5000), (large, 2)):
        with pytest.raises(UsageError, match="it has a header of"):
            unpack(reader(before_a_file(content, times), 100_000), where, PLENTY)
    assert os.listdir(where) == []


def test_headers_for_all_that_follows_do_not_pile_up(tmp_path: Path) -> None:
    def stream() -> Iterator[bytes]:
        for number in range(40):
            info, content = entry("p", tarfile.XGLTYPE), b"900020 key-%02d=" % number + b"x" * 900_005 + b"\n"
            info.size = len(content)
            yield info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
            yield entry(f"f{number}").tobuf()
        yield bytes(2 * tarfile.BLOCKSIZE)

    pieces, where = stream(), folder(tmp_path)
    tracemalloc.start()
    try:
        assert unpack(lambda: next(pieces, b""), where, PLENTY).entries == 40
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # and not the 36 MB that all of them take
    finally:
        tracemalloc.stop()


MALFORMED = {
    "a size below 0": {"size": "-5"},
    "a size that is no number": {"size": "many"},
    "a map of holes that is not there": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
    "a map of holes that is none": {"GNU.sparse.map": "1,x"},
    "half a map of holes": {"GNU.sparse.size": "5", "GNU.sparse.numblocks": "1"},
}


@pytest.mark.parametrize("headers", MALFORMED.values(), ids=MALFORMED)
def test_headers_that_are_malformed(tmp_path: Path, headers: dict[str, str]) -> None:
    info = entry("a")
    info.pax_headers = headers
    first, later = tar((info, b"x")), tar((entry("b"), b"y"), (info, b"x"))
    for name, data in (("first", first), ("later", later)):
        where = tmp_path / name
        where.mkdir()
        with pytest.raises(UsageError, match="workspace"):
            unpack(reader(data), where, PLENTY)


def test_a_header_that_does_not_end(tmp_path: Path) -> None:
    info = entry("a")
    info.pax_headers = {"comment": "x" * (2 << 20)}
    with pytest.raises(UsageError, match="header"):
        unpack(reader(tar((info, b"x"))), folder(tmp_path), PLENTY)


def test_cut_off(tmp_path: Path) -> None:
    data = tar((entry("a"), b"x" * 5000), (entry("b"), b"y"))
    for end in (100, 511, 512, 700, 3000, 5632, 6000, 6144, 6656):
        where = tmp_path / str(end)
        where.mkdir()
        with pytest.raises(UsageError):
            unpack(reader(data[:end]), where, PLENTY)


@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=12)), max_size=3))
def test_whatever_is_damaged_is_told_or_unpacked(changes: list[tuple[int, bytes]]) -> None:
    import tempfile

    info = entry("some/long/" + "n" * 120)
    info.pax_headers = {"comment": "c" * 50}
    data = bytearray(tar((info, b"x" * 700), entry("l", tarfile.SYMTYPE, "some"), entry("d", tarfile.DIRTYPE)))
    for place, content in changes:
        data[place : place + len(content)] = content
    for start in range(0, len(data), tarfile.BLOCKSIZE):  # else a wrong sum hides all else
        block = data[start : start + tarfile.BLOCKSIZE]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    with tempfile.TemporaryDirectory() as where, contextlib.suppress(UsageError, LimitError):
        unpack(reader(bytes(data)), Path(where), PLENTY)


@given(st.binary(max_size=3000))
def test_garbage(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as where:
        try:
            unpacked = unpack(reader(data), Path(where), PLENTY)
            assert unpacked.entries == 0
        except UsageError:
            pass
        assert os.listdir(where) == []


def test_a_tape_goes_forwards_alone() -> None:
    tape = Tape(reader(b"0123456789", 3))
    assert (tape.read(4), tape.tell()) == (b"0123", 4)
    assert (tape.seek(6), tape.read(2), tape.seek(20), tape.read(1)) == (6, b"67", 10, b"")
    with pytest.raises(tarfile.ReadError):
        tape.seek(2)


class TestWorkspaces:
    def spaces(self, tmp_path: Path, now: float | None = None) -> Workspaces:
        return Workspaces(tmp_path / "w", PLENTY, *(() if now is None else (lambda: now,)))

    def accepted(self, spaces: Workspaces, group: str, caller: str = "me", upload: str = "") -> Path:
        with spaces.provided(group, caller, upload) as path:
            assert path.is_dir()
        return path

    def test_an_upload_becomes_a_workspace_once(self, tmp_path: Path) -> None:
        spaces = self.spaces(tmp_path)
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        with pytest.raises(GroupNotFoundError):
            self.accepted(spaces, "g", "you", id)
        path = self.accepted(spaces, "g", "me", id)
        assert (path / "a").read_bytes() == b"x"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for again in (id, "../../etc", "nope"):
            with pytest.raises(GroupNotFoundError):
                self.accepted(spaces, "h", "me", again)
        spaces.remove("g")
        assert not path.exists()

    def test_who_claims_nothing_brings_no_more(self, tmp_path: Path) -> None:
        spaces = self.spaces(tmp_path)
        data = tar((entry("a"), b"x"))
        ids = [spaces.receive("me", reader(data))[0] for _ in range(MOST_UNCLAIMED)]
        with pytest.raises(LimitError):
            spaces.receive("me", reader(data))
        spaces.receive("you", reader(data))
        with spaces.provided("g", "me", ids[0]):
            pass
        spaces.receive("me", reader(data))

    def test_nothing_is_left_of_a_bad_one(self, tmp_path: Path) -> None:
        spaces = self.spaces(tmp_path)
        with pytest.raises(UsageError):
            spaces.receive("me", reader(tar((entry("a"), b"x"), entry("../b"))))
        assert list((tmp_path / "w" / ".uploads").iterdir()) == []

    def test_what_nobody_claims_goes_in_time(self, tmp_path: Path) -> None:
        now = 1000.0
        spaces = self.spaces(tmp_path, now)
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        self.spaces(tmp_path, now + UNCLAIMED_SECONDS - 1).expire()
        assert (self.accepted(spaces, "g", "me", id) / "a").exists()
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        self.spaces(tmp_path, now + UNCLAIMED_SECONDS + 1).expire()
        with pytest.raises(GroupNotFoundError):
            self.accepted(spaces, "h", "me", id)

    def test_after_a_crash(self, tmp_path: Path) -> None:
        spaces = self.spaces(tmp_path)
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        self.accepted(spaces, "runs")
        self.accepted(spaces, "over")
        (tmp_path / "w" / ".uploads" / "cut.part").mkdir()
        spaces.sweep({"runs"})
        assert sorted(os.listdir(tmp_path / "w")) == [".uploads", "runs"]
        assert len(os.listdir(tmp_path / "w" / ".uploads")) == 1
        assert (self.accepted(spaces, "g", "me", id) / "a").exists()

    def test_an_upload_outlives_the_failure_of_its_submission(self, tmp_path: Path) -> None:
        """Whoever brought it has been told so, and submits again."""
        spaces = self.spaces(tmp_path)
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        for upload in (id, ""):
            with pytest.raises(StoreFullError), spaces.provided("g", "me", upload):
                raise StoreFullError
            assert sorted(os.listdir(tmp_path / "w")) == [".uploads"]
        assert (self.accepted(spaces, "g", "me", id) / "a").read_bytes() == b"x"
        assert os.listdir(tmp_path / "w" / ".uploads") == []

    @pytest.mark.parametrize("moved", [True, False])
    def test_an_upload_outlives_a_node_that_is_killed_before_it_has_accepted_its_group(
        self, tmp_path: Path, moved: bool
    ) -> None:
        spaces = self.spaces(tmp_path)
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        (upload,) = (tmp_path / "w" / ".uploads").iterdir()
        upload.with_name(upload.name + ".claimed").symlink_to("g")
        if moved:
            upload.rename(tmp_path / "w" / "g")
        self.spaces(tmp_path).sweep(set())
        assert (self.accepted(spaces, "g", "me", id) / "a").read_bytes() == b"x"
        assert os.listdir(tmp_path / "w" / ".uploads") == []

    def test_a_node_that_is_killed_once_it_has_accepted_the_group_leaves_it_the_upload(self, tmp_path: Path) -> None:
        spaces = self.spaces(tmp_path)
        id, _ = spaces.receive("me", reader(tar((entry("a"), b"x"))))
        path = self.accepted(spaces, "g", "me", id)
        (tmp_path / "w" / ".uploads" / f"{id}.0123456789abcdef.claimed").symlink_to("g")
        self.spaces(tmp_path).sweep({"g"})
        assert (path / "a").read_bytes() == b"x"
        assert os.listdir(tmp_path / "w" / ".uploads") == []

    def test_guests_share_a_workspace_until_it_is_released(self, tmp_path: Path) -> None:
        spaces = self.spaces(tmp_path)
        path = spaces.shared("o", "g")
        (path / "file").write_text("kept")
        others = {spaces.shared(origin, group) for origin, group in (("o", "h"), ("p", "g"), ("o\0g", ""))}
        assert len({path, *others}) == 4
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        self.spaces(tmp_path).sweep([])  # of the next life of the node
        assert spaces.shared("o", "g") == path
        assert (path / "file").read_text() == "kept"
        spaces.release("o", "g")
        spaces.release("o", "never there")
        assert not path.exists()
        assert all(other.exists() for other in others)
        assert list(spaces.shared("o", "g").iterdir()) == []
        assert sorted(spaces.kept("o", 10)) == ["g", "h"]
        assert (len(spaces.kept("o", 1)), spaces.kept("o\0g", 10), spaces.kept("q", 10)) == (1, [""], [])
        spaces.release("o", "h")
        assert spaces.kept("o", 10) == ["g"]
        spaces.release("o", "g", 60.0)
        assert spaces.kept("o", 10) == [], "it was told, and is kept for a while all the same"
        spaces.shared("o", "g")
        assert spaces.kept("o", 10) == ["g"]
        for seen in (tmp_path / "w" / ".guests").glob("*.seen"):
            seen.write_text("cut o")
        assert spaces.kept("o", 10) == []

    def test_what_its_runner_has_forsaken_goes(self, tmp_path: Path) -> None:
        path = self.spaces(tmp_path, 1000.0).shared("o", "g")
        (path / "deep").mkdir()
        other = self.spaces(tmp_path, 1000.0).shared("o", "h")
        os.utime(path, (0, 0))  # what a task does in it makes it neither older nor younger
        os.utime(other, (1e9, 1e9))
        assert self.spaces(tmp_path, 1000.0 + FORSAKEN_SECONDS).shared("o", "h") == other
        self.spaces(tmp_path, 1000.0 + FORSAKEN_SECONDS).expire()
        assert path.exists()
        self.spaces(tmp_path, 1001.0 + FORSAKEN_SECONDS).expire()
        assert not path.exists()
        assert other.exists()
        self.spaces(tmp_path, 1001.0 + 2 * FORSAKEN_SECONDS).sweep([])
        assert not list(tmp_path.glob("w/.guests/*"))
