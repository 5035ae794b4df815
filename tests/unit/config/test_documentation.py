"""docs/configuration.md has every key, as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.config import load_configuration
from runner.config.keys import NODE_KEYS, RUN_KEYS, Computed, Key
from runner.config.reading import Layers, Origin, read

DOCUMENT = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()


def default(key: Key) -> str:
    if isinstance(key.default, Computed):
        return key.default.words
    return "not set" if key.default is None else f"`{key.kind.spelled(key.default)}`"


def row(key: Key, *, name: bool) -> str:
    first = f"| `{key.name}` " if name else ""
    flag = f", `{key.flag}`" if key.option and name else ""
    return f"{first}| `{key.variable}`{flag} | {key.about} | {default(key)} | `{key.example}` |".replace("\\|", "|")


@pytest.mark.parametrize("key", NODE_KEYS, ids=lambda key: key.name)
def test_every_key_of_a_node_has_its_row(key: Key) -> None:
    assert row(key, name=True) in DOCUMENT


@pytest.mark.parametrize("key", RUN_KEYS, ids=lambda key: key.name)
def test_every_key_of_a_run_has_its_row(key: Key) -> None:
    assert row(key, name=False) in DOCUMENT


@pytest.mark.parametrize("key", {key.name: key for key in (*NODE_KEYS, *RUN_KEYS)}.values(), ids=lambda key: key.name)
def test_its_example_is_right(key: Key, tmp_path: Path) -> None:
    file = tmp_path / "runner.toml"
    file.write_text(f"{key.name} = {key.example}")
    reading = read([key], Layers(environ={"HOME": "/h"}, file=file))
    assert reading.faults == []
    found = reading.values[key.name]
    assert found.source.origin is Origin.FILE
    if not isinstance(key.default, Computed):
        assert found.value != key.default


def test_the_example_of_the_whole_is_right(tmp_path: Path) -> None:
    example = DOCUMENT.split("```toml\n")[1].split("```")[0]
    for name in ("node.pem", "node.key", "ca.pem"):
        (tmp_path / name).touch()
    (tmp_path / "runner.toml").write_text(example)
    configuration = load_configuration({"HOME": "/h"}, file=tmp_path / "runner.toml")
    assert configuration.service.tls is not None
    assert len(configuration.service.rules) == 2


def test_what_is_reloaded_is_named() -> None:
    section = DOCUMENT.split("## Reload")[1].split("certificates are read anew")[0]
    assert re.findall(r"`([a-z_.]+)`", section) == [key.name for key in NODE_KEYS if key.reloads]
