from __future__ import annotations

import tomllib
from pathlib import Path

from msgspec.structs import replace

from runner.config import Configuration, load_configuration, printing
from tests.unit.config.test_configuration import FULL

ENVIRON = {"HOME": "/h"}


def configuration(folder: Path, text: str) -> Configuration:
    for name in ("node.pem", "ca.pem", "crl.pem", "node.key", "hook", "headers"):
        (folder / name).touch()
    file = folder / "runner.toml"
    file.write_text(text.replace("/dev/null/../", f"{folder}/"))
    return load_configuration(ENVIRON, file=file, options={"name": ["build-2"]})


def test_what_is_printed_reads_back_as_the_same(tmp_path: Path) -> None:
    for text in ("", FULL):
        first = configuration(tmp_path, text)
        again = tmp_path / "again.toml"
        again.write_text(printing.as_toml(first))
        second = load_configuration(ENVIRON, file=again)
        assert replace(second, values={}, file=None, warnings=()) == replace(first, values={}, file=None, warnings=())


def test_every_value_has_its_source_beside_it(tmp_path: Path) -> None:
    lines = printing.as_toml(configuration(tmp_path, 'drain = 5\n[[rules]]\ncallers = ["a"]\nscopes = []')).splitlines()
    said = {line.partition("#")[0].strip(): line.partition("#")[2].strip() for line in lines}
    assert said['name = "build-2"'] == "--name"
    assert said['drain = "5s"'] == f"{tmp_path}/runner.toml:1"
    assert said["[[rules]]"] == f"{tmp_path}/runner.toml:2"
    assert said["groups = 20000"] == "default"
    assert "# certificate is not set" in lines


def test_a_file_with_a_strange_name_cannot_end_a_comment(tmp_path: Path) -> None:
    folder = tmp_path / 'a\nname = "x"'
    folder.mkdir()
    assert tomllib.loads(printing.as_toml(configuration(folder, "drain = 5")))["name"] == "build-2"


def test_the_same_as_data(tmp_path: Path) -> None:
    data = printing.as_data(configuration(tmp_path, "drain = 5"))
    assert data["file"] == f"{tmp_path}/runner.toml"
    assert data["values"]["drain"] == {
        "value": "5s",
        "source": {"kind": "file", "name": f"{tmp_path}/runner.toml", "line": 1},
    }
    assert data["values"]["name"] == {"value": "build-2", "source": {"kind": "option", "name": "--name"}}
    assert data["values"]["tls.key"] == {"value": None, "source": {"kind": "default"}}
