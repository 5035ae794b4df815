from __future__ import annotations

import stat
from pathlib import Path

import pytest

from runner.config import contexts
from runner.config.client import load_client_settings
from runner.config.contexts import Contexts
from runner.errors import UsageError
from runner.model.endpoint import Endpoint


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "made" / "contexts.toml"
    first = Endpoint(target="build.example:1", ca="/c/ca.pem", certificate="/c/a.pem", key="/c/a.key", token='rt_"\\')
    second = Endpoint(target="unix:/run/ü.sock")
    kept = Contexts().with_context("build", first).with_context("a.b", second)
    contexts.save(path, kept)
    assert contexts.load(path) == kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    contexts.save(path, Contexts(current="build", contexts=kept.contexts))
    assert contexts.load(path).current == "build"
    assert contexts.load(path).without("build") == Contexts(contexts={"a.b": second})
    assert [entry.name for entry in path.parent.iterdir()] == ["contexts.toml"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    real = written(tmp_path / "real", "")
    (tmp_path / "link").symlink_to(real)
    contexts.save(tmp_path / "link", Contexts(contexts={"a": Endpoint(target="h:1")}))
    assert (tmp_path / "link").is_symlink()
    assert contexts.load(real).named("a").target == "h:1"


def test_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    text = '[contexts.a]\ntarget = "h:1"\nca = "ca.pem"\ntoken_file = "~/token"\n'
    endpoint = contexts.load(written(tmp_path / "c.toml", text)).named("a")
    assert (endpoint.ca, endpoint.token_file) == (f"{tmp_path}/ca.pem", "/home/ada/token")


def test_nothing_is_kept_where_there_is_no_file(tmp_path: Path) -> None:
    assert contexts.load(tmp_path / "none") == Contexts()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("current = ", "Invalid value"),
        ("curent = 'a'", r"curent is not known \(did you mean 'current'\?\)"),
        ("current = 3", "current: expected the name of a context"),
        ("contexts = 3", r"contexts: expected tables such as \[contexts.build\]"),
        ("contexts.a = 3", "contexts.a: expected a table with at least target"),
        ("[contexts.a]\nca = 'x'", "contexts.a: target is missing"),
        ("[contexts.a]\ntarget = 3", "contexts.a.target: expected a text"),
        ("[contexts.a]\ntarget = 'h:1'\ninsecure = 'yes'", "contexts.a.insecure: expected true or false"),
        ("[contexts.a]\ntarget = 'h:1'\ntokn = 'x'", r"contexts.a.tokn is not known \(did you mean 'token'\?\)"),
        ("[contexts.a]\ntarget = 'h'", "contexts.a: 'h' is not the place of a node"),
        ("[contexts.a]\ntarget = 'h:1'\nkey = 'x'", "contexts.a: h:1: a certificate and its key go together"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "contexts.toml", text)
    with pytest.raises(UsageError, match=message) as caught:
        contexts.load(path)
    assert caught.value.message.startswith(f"{path}: ")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "contexts.toml", "")
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"others may use it \(mode 0640\): chmod 600"):
        contexts.load(path)


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be kept"):
        contexts.save(tmp_path / "c", Contexts(contexts={"a": Endpoint(target="h:1", token="a\nb")}))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written: (Not a directory|File exists)"):
        contexts.save(tmp_path / "file" / "c", Contexts())


def test_where_the_file_is() -> None:
    assert load_client_settings({"HOME": "/h"}).contexts_file == Path("/h/.config/runner/contexts.toml")
    given = {"HOME": "/h", "XDG_CONFIG_HOME": "/x", "RUNNER_TO": "a:1", "RUNNER_TOKEN": "rt_x"}
    settings = load_client_settings(given)
    assert (settings.contexts_file, settings.to, settings.context) == (Path("/x/runner/contexts.toml"), "a:1", "")
    assert "rt_x" not in repr(settings)
    assert load_client_settings({"HOME": "/h", "XDG_CONFIG_HOME": "rel"}).contexts_file.parts[1] == "h"
