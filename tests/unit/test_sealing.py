from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import SealError
from runner.sealing import KEY_BYTES, Sealer

CONTEXT = "group g input password"

PRINTS_ITS_KEY = """
import sys
from runner.sealing import Sealer
sys.stdin.readline()
print(Sealer.open_or_create(sys.argv[1]).key_id)
"""


@pytest.fixture
def sealer() -> Sealer:
    return Sealer.ephemeral()


@pytest.mark.parametrize("plain", [b"", b"x", b"s3cret \xff\x00", b"long" * 250_000])
def test_what_was_sealed_can_be_unsealed(sealer: Sealer, plain: bytes) -> None:
    sealed = sealer.seal(plain, CONTEXT)
    assert sealer.unseal(sealed, CONTEXT) == plain
    assert len(plain) < 4 or plain not in sealed


def test_sealing_twice_gives_different_bytes(sealer: Sealer) -> None:
    assert len({sealer.seal(b"same", CONTEXT) for _ in range(100)}) == 100


def test_every_altered_bit_is_noticed(sealer: Sealer) -> None:
    sealed = sealer.seal(b"s3cret", CONTEXT)
    for place in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(SealError):
            sealer.unseal(bytes(altered), CONTEXT)


def test_every_cut_is_noticed(sealer: Sealer) -> None:
    sealed = sealer.seal(b"s3cret", CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(SealError):
            sealer.unseal(sealed[:length], CONTEXT)
    with pytest.raises(SealError, match="altered"):
        sealer.unseal(sealed + b"\0", CONTEXT)


def test_a_value_opens_only_in_its_place(sealer: Sealer) -> None:
    sealed = sealer.seal(b"s3cret", CONTEXT)
    for other in ("", "group g input passwor", "group h input password", CONTEXT + " "):
        with pytest.raises(SealError, match="another place"):
            sealer.unseal(sealed, other)


def test_another_key_is_named(sealer: Sealer) -> None:
    other = Sealer.ephemeral()
    with pytest.raises(SealError) as caught:
        other.unseal(sealer.seal(b"s3cret", CONTEXT), CONTEXT)
    assert sealer.key_id in caught.value.message
    assert other.key_id in caught.value.message
    assert "s3cret" not in caught.value.message


def test_another_form_is_named(sealer: Sealer) -> None:
    with pytest.raises(SealError, match="form 2"):
        sealer.unseal(b"\x02" + sealer.seal(b"s3cret", CONTEXT)[1:], CONTEXT)


def test_the_key_file_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    first = Sealer.open_or_create(path)
    sealed = first.seal(b"s3cret", CONTEXT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_size == KEY_BYTES
    assert os.listdir(path.parent) == ["key"]
    again = Sealer.open_or_create(str(path))
    assert again.key_id == first.key_id
    assert again.unseal(sealed, CONTEXT) == b"s3cret"


def test_two_key_files_hold_two_keys(tmp_path: Path) -> None:
    assert Sealer.open_or_create(tmp_path / "a").key_id != Sealer.open_or_create(tmp_path / "b").key_id


def test_a_key_is_whole_or_not_there_whenever_its_maker_is_killed(tmp_path: Path) -> None:
    """Killed with the bytes written, but not synced: nothing is left, and the next one makes a key."""
    script = """if True:
        import os, secrets, signal, sys
        from runner.sealing import Sealer
        fsync = os.fsync
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        Sealer.open_or_create(sys.argv[1])
    """
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "key")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == []
    Sealer.open_or_create(tmp_path / "key")
    assert os.listdir(tmp_path) == ["key"]


def test_where_there_are_no_files_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: str | os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    first = Sealer.open_or_create(tmp_path / "key")
    assert Sealer.open_or_create(tmp_path / "key").key_id == first.key_id
    assert os.listdir(tmp_path) == ["key"]


def test_neither_key_nor_secret_is_printed(tmp_path: Path) -> None:
    sealer = Sealer.open_or_create(tmp_path / "key")
    key = (tmp_path / "key").read_bytes()
    for text in (repr(sealer), str(sealer)):
        assert repr(key)[2:-1] not in text
        assert key.hex() not in text
        assert sealer.key_id in text
    assert sealer.key_id not in key.hex()


def test_processes_that_start_together_share_the_key(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", PRINTS_ITS_KEY, str(tmp_path / "state" / "key")]
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=30)[0] for process in processes}
    assert answers == {Sealer.open_or_create(tmp_path / "state" / "key").key_id + "\n"}
    assert os.listdir(tmp_path / "state") == ["key"]


@pytest.mark.parametrize("size", [0, 1, KEY_BYTES - 1, KEY_BYTES + 1, 1_000_000])
def test_a_file_of_another_size_is_no_key(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(b"k" * size)
    with pytest.raises(SealError, match=f"key has {size} bytes"):
        Sealer.open_or_create(path)
    assert path.stat().st_size == size


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    Sealer.open_or_create(path)
    path.chmod(mode)
    with pytest.raises(SealError, match=f"mode 0{mode:o}.*chmod 600"):
        Sealer.open_or_create(path)
    path.chmod(0o400)
    Sealer.open_or_create(path)


def test_a_key_that_cannot_be_read_is_refused_and_kept(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("unprivileged")
    path = tmp_path / "key"
    Sealer.open_or_create(path)
    path.chmod(0)
    with pytest.raises(SealError, match="can be neither read nor made: Permission denied"):
        Sealer.open_or_create(path)
    path.chmod(0o600)
    assert path.stat().st_size == KEY_BYTES


def test_a_key_that_was_replaced_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = Sealer.open_or_create(path).seal(b"s3cret", CONTEXT)
    kept = path.read_bytes()
    path.write_bytes(b"k" * KEY_BYTES)
    with pytest.raises(SealError, match=f"but the key in the file {path} is .*: put the key file back"):
        Sealer.open_or_create(path).unseal(sealed, CONTEXT)
    path.write_bytes(kept)
    assert Sealer.open_or_create(path).unseal(sealed, CONTEXT) == b"s3cret"


def test_what_cannot_be_a_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "file" / "key", tmp_path / "dangling", tmp_path / ("n" * 300)):
        with pytest.raises(SealError, match=path.name):
            Sealer.open_or_create(path)
    with pytest.raises(SealError, match="null byte"):
        Sealer.open_or_create("a\0b")


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    made = Sealer.open_or_create(tmp_path / "stick" / "key")
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "key").symlink_to(tmp_path / "stick" / "key")
    assert Sealer.open_or_create(tmp_path / "state" / "key").key_id == made.key_id
    (tmp_path / "stick" / "key").unlink()  # the stick is not in the machine: no other key must take its place
    with pytest.raises(SealError, match="can be neither read nor made"):
        Sealer.open_or_create(tmp_path / "state" / "key")


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(SealError, match="32 bytes, not 16"):
        Sealer(b"k" * 16)


def test_a_runner_without_secrets_does_not_pay_for_them(tmp_path: Path) -> None:
    program = "import sys; from runner.sealing import Sealer; Sealer.open_or_create(sys.argv[1]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "key"], capture_output=True, text=True, check=True
    )
    assert "runner.sealing" in loaded.stdout.split()
    assert "cryptography" not in loaded.stdout.split()
