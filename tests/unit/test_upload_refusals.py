"""What a caller is told whose upload is refused: each text as a whole."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from runner.errors import GroupNotFoundError, LimitError, UsageError
from runner.uploads import Allowance, unpack
from runner.workspaces import MOST_UNCLAIMED, Workspaces
from tests.unit.test_uploads import entry, reader, tar

LINK, FOLDER, DEVICE = tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE
LONG = "n" * 300


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            tar(entry("/etc/evil")),
            "the workspace has '/etc/evil', which would lie outside of it: send names below the folder",
        ),
        (
            tar(entry("a/../../b")),
            "the workspace has 'a/../../b', which would lie outside of it: send names below the folder",
        ),
        (tar(entry("a"), entry("a")), "the workspace has 'a' twice: send each name once"),
        (tar(entry("a"), entry("a", LINK, "b")), "the workspace has 'a' twice: send each name once"),
        (
            tar(entry("a", LINK, "x" * 5000)),
            "the workspace has 'a', a symbolic link that cannot be made: [Errno 36] File name too long: "
            "'" + "x" * 5000 + "' -> '{folder}/a'; leave it out with --exclude",
        ),
        (
            tar(entry("a", LINK, "/etc")),
            "the workspace has 'a', a symbolic link that leads out of it: leave it out with --exclude",
        ),
        (
            tar(entry("a", DEVICE)),
            "the workspace has 'a', which is no regular file, folder or symbolic link: leave it out with --exclude",
        ),
        (
            tar((entry(LONG), b"x")),
            f"the workspace has '{LONG}', which cannot be made: File name too long; leave it out with --exclude",
        ),
        (
            tar((entry("d/" * 300 + "f"), b"x")),
            f"the workspace has a name that is too long or too deep: '{'d/' * 40}'…; leave it out with --exclude",
        ),
        (tar(entry("a"))[:512], "the workspace is cut off: it has no end; send it again"),
        (b"x" * 1024, "the workspace is no tar stream that can be read: invalid header; send it again"),
    ],
)
def test_what_cannot_be_unpacked(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        unpack(reader(data), tmp_path, Allowance(bytes=10_000_000, entries=1000))
    assert caught.value.message == message.replace("{folder}", str(tmp_path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tar((entry("a"), b"x" * 1001)), "the workspace has more than 1,000 bytes: leave something out with --exclude"),
        (
            tar(*(entry(f"d{number}", FOLDER) for number in range(4))),
            "the workspace has more than 3 files and folders: leave something out with --exclude",
        ),
    ],
)
def test_what_is_too_large(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(LimitError) as caught:
        unpack(reader(data), tmp_path, Allowance(bytes=1000, entries=3))
    assert caught.value.message == message


def test_uploads_that_become_no_workspace(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "w", Allowance(bytes=1000, entries=3))
    for _ in range(MOST_UNCLAIMED):
        spaces.receive("me", reader(tar(entry("a"))))
    with pytest.raises(LimitError) as too_many:
        spaces.receive("me", reader(tar(entry("a"))))
    assert too_many.value.message == (
        f"'me' has {MOST_UNCLAIMED} workspaces here that no group has claimed, which is the most; submit groups with them"
    )
    with pytest.raises(GroupNotFoundError) as unknown, spaces.provided("g", "me", "nope"):
        pass
    assert unknown.value.message == (
        "there is no upload 'nope': one is kept for an hour and becomes the workspace of one group; bring it again"
    )
