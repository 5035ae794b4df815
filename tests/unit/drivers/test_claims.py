"""Whether a package may name a driver is found out with a look, and nothing is missed by it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.machinery import PathFinder
from importlib.metadata import DistributionFinder
from pathlib import Path

import pytest

from drivers.claims import may_name

GROUP = "runner.drivers"


def describe(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "entry_points.txt").write_text(text)


def test_packages_that_name_none_name_none(tmp_path: Path) -> None:
    describe(tmp_path, "other-1.0.dist-info", "[console_scripts]\nother = other:main\n")
    (tmp_path / "bare-1.0.dist-info").mkdir()
    (tmp_path / "file-1.0.egg-info").write_text("Name: file\n")
    assert not may_name(GROUP, [str(tmp_path), str(tmp_path / "missing")])


@pytest.mark.parametrize("name", ["one-1.0.dist-info", "one-1.0.egg-info", "EGG-INFO.egg-info", "One-1.0.DIST-INFO"])
def test_one_that_names_some_is_seen(tmp_path: Path, name: str) -> None:
    describe(tmp_path / "site", name, "[ runner.drivers ]\none = one:One\n")
    assert may_name(GROUP, ["", str(tmp_path), str(tmp_path / "site")])


def test_where_a_look_does_not_do_it_may_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("one-1.0.dist-info/entry_points.txt", "[runner.drivers]\none = one:One\n")
    assert may_name(GROUP, [str(archive)])

    class Finder(DistributionFinder):
        def find_spec(self, *arguments: object) -> None:
            return None

        def find_distributions(self, context: object = None) -> list[object]:  # type: ignore[override]
            return []

    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    assert not may_name(GROUP)
    monkeypatch.setattr(sys, "meta_path", [PathFinder, Finder()])
    assert may_name(GROUP)


def test_where_there_is_none_nothing_is_loaded_to_find_that_out() -> None:
    code = (
        "import sys; from drivers import plugins; assert list(plugins.installed()) == []\n"
        "assert not {'importlib.metadata', 'email'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
