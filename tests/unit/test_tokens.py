from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config.service import DEFAULT_SCOPES, Scope
from runner.errors import StoreError, UnauthenticatedError, UsageError
from runner.tokens import DEFAULT_LIFETIME_SECONDS, Tokens

NOW = 1_700_000_000.5
DAY = 86400.0

CREATES_TOKENS = """
import sys
from pathlib import Path
from runner.tokens import Tokens
sys.stdin.readline()
for _ in range(20):
    print(Tokens(Path(sys.argv[1])).create("ada", now=1.0)[1])
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "state")


def only_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "state" / "tokens").iterdir()
    return path


def test_what_was_created_is_verified_by_others(tokens: Tokens, tmp_path: Path) -> None:
    token, text = tokens.create("ada@example", now=NOW, scopes=frozenset({Scope.READ}), description="for the wall")
    assert Tokens(tmp_path / "state").verify(text, NOW) == token
    assert (token.name, token.description) == ("ada@example", "for the wall")
    assert token.scopes == {Scope.READ}
    assert text.startswith(f"rt_{token.id}_")


def test_without_a_word_it_works_with_ones_own_groups_for_ninety_days(tokens: Tokens) -> None:
    token, text = tokens.create("ada", now=NOW)
    assert token.scopes == DEFAULT_SCOPES
    assert token.expires == int(NOW + DEFAULT_LIFETIME_SECONDS) == int(NOW + 90 * DAY)
    tokens.verify(text, token.expires - 1)
    with pytest.raises(UnauthenticatedError, match="expired at 2024-02-12T22:13:20"):
        tokens.verify(text, token.expires)


def test_one_that_never_expires(tokens: Tokens) -> None:
    token, text = tokens.create("ada", now=NOW, lifetime=None)
    assert token.expires is None
    assert tokens.verify(text, NOW + 36500 * DAY) == token


def test_the_secret_is_nowhere_on_the_disk(tokens: Tokens, tmp_path: Path) -> None:
    _, text = tokens.create("ada", now=NOW)
    secret = text.split("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    data = only_file(tmp_path).read_bytes()
    assert secret.encode() not in data
    assert bytes.fromhex(secret) not in data
    assert secret not in only_file(tmp_path).name


def test_nobody_else_may_read_what_is_kept(tokens: Tokens, tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        tokens.create("ada", now=NOW)
    finally:
        os.umask(former)
    assert stat.S_IMODE(only_file(tmp_path).stat().st_mode) == 0o600
    for folder in (tmp_path / "state", tmp_path / "state" / "tokens"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_root_creates_belongs_to_the_user_of_the_node(
    tokens: Tokens, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("root")
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, 54321)
    tokens.create("ada", now=NOW)
    for path in (tmp_path / "state" / "tokens", only_file(tmp_path)):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "node/a", ".a", "-a", "a" * 65, "local", "ä", "a\n", "*", "rt_0\0", "a,b"]
)
def test_names_that_nobody_can_have(tokens: Tokens, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a caller cannot be called"):
        tokens.create(name, now=NOW)
    assert not (tmp_path / "state").exists()


def test_admin_alone_allows_nothing_and_is_refused(tokens: Tokens) -> None:
    for scopes in (frozenset({Scope.ADMIN}), frozenset[Scope]()):
        with pytest.raises(UsageError, match="needs a scope beside `admin`"):
            tokens.create("ada", now=NOW, scopes=scopes)
    with pytest.raises(UsageError, match="one line of at most 200"):
        tokens.create("ada", now=NOW, description="a\nb")


def test_every_other_secret_is_refused(tokens: Tokens) -> None:
    _, text = tokens.create("ada", now=NOW)
    _, other = tokens.create("ada", now=NOW)
    start, secret = text[: -len(text.split("_")[2])], text.split("_")[2]
    for place in range(len(secret)):
        wrong = secret[:place] + ("1" if secret[place] == "0" else "0") + secret[place + 1 :]
        with pytest.raises(UnauthenticatedError, match="does not know the token"):
            tokens.verify(start + wrong, NOW)
    with pytest.raises(UnauthenticatedError, match="does not know the token"):
        tokens.verify(start + other.split("_")[2], NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: text.upper(),
        lambda text: text.replace("rt_", "xx_"),
        lambda text: "rt_../../../etc/x_" + text.split("_")[2],
        lambda text: text[:-1] + "０",  # a digit, but no ASCII
        lambda text: "rt_" * 100_000,
    ],
)
def test_what_is_no_token(tokens: Tokens, change: Callable[[str], str]) -> None:
    _, text = tokens.create("ada", now=NOW)
    with pytest.raises(
        UnauthenticatedError,
        match=r"^the token is malformed: expected `rt_`, an id, `_` and a secret, as `runner token create` has printed it$",
    ):
        tokens.verify(change(text), NOW)


def test_revoked_is_gone_for_everybody_at_once(tokens: Tokens, tmp_path: Path) -> None:
    running = Tokens(tmp_path / "state")
    token, text = tokens.create("ada", now=NOW)
    kept, kept_text = tokens.create("ada", now=NOW)
    running.verify(text, NOW)
    tokens.revoke(token.id)
    with pytest.raises(UnauthenticatedError, match="does not know the token"):
        running.verify(text, NOW)
    assert running.verify(kept_text, NOW) == kept
    assert [use.token for use in tokens.all()] == [kept]


@pytest.mark.parametrize("id", ["", "0" * 12, "../tokens", "0" * 11, "*"])
def test_what_is_not_there_cannot_be_revoked(tokens: Tokens, id: str) -> None:
    tokens.create("ada", now=NOW)
    with pytest.raises(UsageError, match=r"no token with the id .*`runner token ls`"):
        tokens.revoke(id)
    assert len(tokens.all()) == 1


def test_the_day_of_the_last_use_is_known(tokens: Tokens) -> None:
    _, text = tokens.create("ada", now=NOW)
    assert tokens.all()[0].last is None
    with pytest.raises(UnauthenticatedError):
        tokens.verify(text[:-64] + "0" * 64, NOW + 10)
    assert tokens.all()[0].last is None
    tokens.verify(text, NOW + 20)
    assert tokens.all()[0].last == pytest.approx(NOW + 20)
    tokens.verify(text, NOW + 30)  # the same day: nothing is written
    assert tokens.all()[0].last == pytest.approx(NOW + 20)
    tokens.verify(text, NOW + 3 * DAY)
    assert tokens.all()[0].last == pytest.approx(NOW + 3 * DAY)


def test_they_are_shown_in_the_order_in_which_they_were_made(tokens: Tokens) -> None:
    made = [tokens.create(f"caller-{second}", now=NOW + second)[0] for second in range(20)]
    assert [use.token for use in tokens.all()] == made
    assert Tokens(Path("/nonexistent")).all() == []


def test_a_file_that_belongs_to_somebody_else_lets_nobody_in(
    tokens: Tokens, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("root")
    _, text = tokens.create("ada", now=NOW)
    tokens.verify(text, NOW)
    os.chown(only_file(tmp_path), 12345, 12345)
    with pytest.raises(StoreError, match="others may write"):
        tokens.verify(text, NOW)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"id": 1}', b"\xff", b"x" * 10_000])
def test_a_damaged_file_is_told_and_lets_nobody_in(tokens: Tokens, tmp_path: Path, data: bytes) -> None:
    _, text = tokens.create("ada", now=NOW)
    path = only_file(tmp_path)
    path.write_bytes(data)
    for use in (lambda: tokens.verify(text, NOW), tokens.all):
        with pytest.raises(StoreError, match=rf"{path.name}.*remove it"):
            use()
    tokens.revoke(path.stem)
    assert tokens.all() == []


def test_the_file_of_one_token_is_not_that_of_another(tokens: Tokens, tmp_path: Path) -> None:
    _, text = tokens.create("root", now=NOW)
    path = only_file(tmp_path)
    other, other_text = tokens.create("ada", now=NOW)
    path.write_bytes(path.with_name(f"{other.id}.json").read_bytes())
    with pytest.raises(StoreError, match="damaged"):
        tokens.verify(text, NOW)
    assert tokens.verify(other_text, NOW) == other


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_lets_nobody_in(tokens: Tokens, tmp_path: Path, mode: int) -> None:
    _, text = tokens.create("ada", now=NOW)
    tokens.verify(text, NOW)
    only_file(tmp_path).chmod(mode)
    with pytest.raises(StoreError, match="others may write"):
        tokens.verify(text, NOW)


def test_a_link_in_the_place_of_a_file_lets_nobody_in(tokens: Tokens, tmp_path: Path) -> None:
    _, text = tokens.create("ada", now=NOW)
    path = only_file(tmp_path)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(StoreError, match="no token file"):
        tokens.verify(text, NOW)


def test_a_folder_that_others_may_write_gets_no_tokens(tokens: Tokens, tmp_path: Path) -> None:
    (tmp_path / "state" / "tokens").mkdir(parents=True)
    (tmp_path / "state" / "tokens").chmod(0o777)
    with pytest.raises(UsageError, match="chmod 700"):
        tokens.create("ada", now=NOW)


def test_where_nothing_can_be_kept_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="cannot be kept"):
        Tokens(tmp_path / "state").create("ada", now=NOW)


def test_processes_that_create_at_once_lose_nothing(tokens: Tokens, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", CREATES_TOKENS, str(tmp_path / "state")]
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    texts = [text for process in processes for text in process.communicate(timeout=40)[0].split()]
    assert len(set(texts)) == len(tokens.all()) == 80
    assert {tokens.verify(text, 1.0).name for text in texts} == {"ada"}
    assert all(name.endswith(".json") for name in os.listdir(tmp_path / "state" / "tokens"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path.unlink(), path.mkdir()), "{file} is no token file: remove it"),
        (
            lambda path: path.chmod(0o622),
            "others may write the token file {file}: remove it, and make a new token",
        ),
        (
            lambda path: path.write_text("{}"),
            "the token file {file} is damaged: remove it, and make a new token (Object missing required field `id`)",
        ),
        (
            lambda path: path.rename(path.with_stem("0" * 12)),
            "the token file {other} is damaged: remove it, and make a new token (it is not what was written)",
        ),
    ],
)
def test_files_of_tokens_that_are_none(
    tokens: Tokens, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    tokens.create("ada", now=NOW)
    file = only_file(tmp_path)
    change(file)
    with pytest.raises(StoreError) as caught:
        Tokens(tmp_path / "state").all()
    assert caught.value.message == message.format(file=file, other=file.with_stem("0" * 12))


def test_where_others_could_put_tokens_none_is_made(tokens: Tokens, tmp_path: Path) -> None:
    tokens.create("ada", now=NOW)
    folder = tmp_path / "state" / "tokens"
    folder.chmod(0o722)
    with pytest.raises(UsageError) as caught:
        tokens.create("ada", now=NOW)
    assert (
        caught.value.message == f"others may write to the folder {folder}: chmod 700 it, and remove what is not yours"
    )


def test_a_folder_of_tokens_that_is_none(tokens: Tokens, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    folder = tmp_path / "state" / "tokens"
    folder.touch()
    with pytest.raises(StoreError) as caught:
        tokens.all()
    assert caught.value.message == (
        f"the tokens cannot be read: Not a directory: {folder}; make it readable for this user"
    )
