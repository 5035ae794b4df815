"""Which place a command asks, by all that may name one."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest

from runner.cli.place import add_place_arguments, chosen
from runner.config import contexts
from runner.config.contexts import Contexts
from runner.errors import UsageError
from runner.model.endpoint import Endpoint

BUILD = Endpoint(target="build.example:1", token="rt_build")
LAB = Endpoint(target="lab.example:1")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNNER_TO", "RUNNER_CONTEXT", "RUNNER_TOKEN", "RUNNER_TOKEN_FILE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    contexts.save(tmp_path / "runner" / "contexts.toml", Contexts(contexts={"build": BUILD, "lab": LAB}))


def place(*arguments: str, node_only: bool = False) -> Endpoint | None:
    parser = ArgumentParser()
    add_place_arguments(parser, node_only=node_only)
    return chosen(parser.parse_args(arguments))


def test_what_is_said_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place() is None
    assert place("--to", "h:1") == Endpoint(target="h:1")
    assert place("--context", "lab") == LAB
    kept = contexts.load(tmp_path / "runner" / "contexts.toml")
    contexts.save(tmp_path / "runner" / "contexts.toml", Contexts(current="lab", contexts=kept.contexts))
    assert place() == LAB
    monkeypatch.setenv("RUNNER_CONTEXT", "build")
    assert place() == BUILD
    monkeypatch.setenv("RUNNER_TO", "unix:/s")
    assert place() == Endpoint(target="unix:/s")
    assert place("--context", "lab") == LAB
    assert place("--to", "h:1") == Endpoint(target="h:1")
    assert place("--here") is None
    assert place("--state-dir", "elsewhere") is None


def test_the_node_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place("--to", "local") == Endpoint(target=f"unix:{tmp_path}/.local/state/runner/runner.sock")
    assert place("--to", "local", "--state-dir", "/s") == Endpoint(target="unix:/s/runner.sock")
    monkeypatch.setenv("RUNNER_TO", "local")
    assert place() == Endpoint(target=f"unix:{tmp_path}/.local/state/runner/runner.sock")
    assert place("--state-dir", "/s") is None, "it is about what was kept there"
    assert place("--state-dir", "/s", node_only=True) == Endpoint(target="unix:/s/runner.sock")


def test_the_token_of_the_environment_is_for_a_node_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_TOKEN", "rt_env")
    for endpoint, token in (
        (place("--to", "h:1"), "rt_env"),
        (place("--context", "lab"), "rt_env"),
        (place("--context", "build"), "rt_build"),
        (place("--to", "h:1", "--token-file", "t"), None),
    ):
        assert endpoint is not None
        assert endpoint.token == token
    monkeypatch.setenv("RUNNER_TOKEN_FILE", "/t")
    with pytest.raises(UsageError, match="two tokens"):
        place("--to", "h:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "h:1", "--here"), "--to and --here name two places"),
        (("--to", "h:1", "--context", "lab"), "--to and --context name two places"),
        (("--server-name", "x"), "--server-name says how to speak with --to"),
        (("--context", "lba"), "there is no context 'lba'"),
        (("--to", "h"), "is not the place of a node"),
        (("--to", "h:1", "--key", "k"), "a certificate and its key go together"),
    ],
)
def test_what_makes_no_sense(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        place(*arguments)


def test_a_current_context_that_is_gone_is_told_and_can_be_changed(tmp_path: Path) -> None:
    contexts.save(tmp_path / "runner" / "contexts.toml", Contexts(current="gone", contexts={"lab": LAB}))
    with pytest.raises(UsageError, match="there is no context 'gone'"):
        place()
    assert place("--here") is None
    assert place("--context", "lab") == LAB


@pytest.mark.parametrize(
    "option", ["--to", "--context", "--state-dir", "--ca", "--certificate", "--key", "--server-name", "--token-file"]
)
def test_an_option_that_is_empty_is_not_one_that_was_left_away(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`runner cancel --to "$NODE" @last`, where NODE is not set, would end something else."""
    to = () if option in ("--to", "--context") else ("--to", "h:1")
    with pytest.raises(SystemExit):
        place(*to, option, "")
    assert f"argument {option}: it is empty: give it a value, or leave the option away" in capsys.readouterr().err
