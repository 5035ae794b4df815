"""Which plugins there are, and when they are looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, PathDistribution
from pathlib import Path
from types import MappingProxyType

import pytest

from drivers import specschema
from drivers.base import Spec
from drivers.guarded import Guarded
from drivers.listing import task_types
from drivers.plugins import Plugin, Plugins, Unusable
from drivers.registry import Registry
from drivers.scripted import ScriptedDriver
from tests.plugins import install

GOOD = """
    class {name}(SimpleDriver):
        type = "{type}"
        async def run(self, ctx, spec): return {{}}
"""


class Counting:
    """Finds what is installed in a folder, and counts how often it was asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def __call__(self) -> Iterable[EntryPoint]:
        self.times += 1
        found: list[Distribution] = [PathDistribution(path) for path in sorted(self.folder.glob("*.dist-info"))]
        return [entry for dist in found for entry in dist.entry_points]


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Counting(tmp_path)


def test_nothing_is_looked_for_while_what_is_built_in_is_asked_for(counting: Counting) -> None:
    registry = Registry([ScriptedDriver("own")], Plugins(counting))
    assert registry.get("own") is not None
    assert registry.trouble("own") is None
    assert registry.origin("own") is None
    assert [driver.type for driver in registry.loaded] == ["own"]
    assert counting.times == 0


def test_only_what_is_named_is_imported_and_what_there_is_is_looked_up_once(counting: Counting) -> None:
    install(counting.folder, "plugin-one", GOOD.format(name="One", type="one"), {"one": "One"})
    install(counting.folder, "plugin-two", "raise RuntimeError('never')", {"two": "Two"})
    registry = Registry([ScriptedDriver("own")], Plugins(counting))
    assert registry.get("absent") is None
    driver = registry.get("one")
    assert isinstance(driver, Guarded)
    assert registry.get("one") is driver
    assert list(registry.types) == ["own", "one", "two"]  # of the last nobody knows yet that it is broken
    assert registry.trouble("two") is not None
    assert list(registry.types) == ["own", "one"]
    assert str(registry.origin("one")) == "plugin-one 1.0"
    assert counting.times == 1


def test_a_package_that_is_found_twice_is_one(counting: Counting) -> None:
    install(counting.folder, "plugin-three", GOOD.format(name="Three", type="three"), {"three": "Three"})
    plugins = Plugins(lambda: [*counting(), *counting()])
    assert isinstance(plugins.get("three"), Plugin)


def test_what_two_packages_claim_nobody_gets(counting: Counting) -> None:
    for package in ("plugin-four", "plugin-five"):
        install(counting.folder, package, GOOD.format(name="Four", type="four"), {"four": "Four"})
    found = Plugins(counting).get("four")
    assert isinstance(found, Unusable)
    assert str(found) == (
        "plugins plugin-five 1.0 and plugin-four 1.0: they both claim the task type 'four'; uninstall one of them"
    )


class NoSchema(Spec):
    of: MappingProxyType[str, object] | None = None
    unsaid: object = float("nan")


def test_a_schema_that_cannot_be_made_is_one_that_says_so() -> None:
    schema = specschema.known_of(NoSchema)
    assert schema.keys() == {"description"}
    assert schema["description"].startswith("There is no schema of this spec: ")


def test_the_types_of_a_registry_are_told_with_what_is_broken(counting: Counting) -> None:
    install(counting.folder, "plugin-six", GOOD.format(name="Six", type="six"), {"six": "Six", "own": "Six"})
    registry = Registry([ScriptedDriver("own")], Plugins(counting))
    told = asyncio.run(task_types(registry, {}))
    assert [(type.name, type.package, type.version, type.unusable) for type in told] == [
        ("own", "", "", False),
        ("six", "plugin-six", "1.0", False),
        ("own", "plugin-six", "1.0", True),
    ]


def test_packages_that_are_torn_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, text in enumerate((b"[runner.drivers\nx", b"[runner.drivers]\nno entry\n", b"\xff\xfe")):
        info = tmp_path / f"torn{number}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_bytes(text)
    nameless = tmp_path / "nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[runner.drivers]\nnameless = nameless:Nameless\n")
    install(tmp_path, "plugin-seven", GOOD.format(name="Seven", type="seven"), {"seven": "Seven", "a b": "Seven"})
    registry = Registry([], Plugins())
    assert registry.get("seven") is not None
    assert "is no name for a task type" in str(registry.trouble("a b")) or "have to be the same" in str(
        registry.trouble("a b")
    )
    assert registry.get("nameless") is None
