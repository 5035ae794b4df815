from __future__ import annotations

import pytest

from drivers.registry import Registry
from drivers.scripted import ScriptedDriver
from runner.errors import DriverError


def test_drivers_are_found_by_type() -> None:
    first, second = ScriptedDriver("first"), ScriptedDriver("second")
    registry = Registry([first, second])
    assert registry.get("first") is first
    assert registry.get("second") is second
    assert registry.get("third") is None
    assert registry.types == ("first", "second")


def test_one_type_has_one_driver() -> None:
    with pytest.raises(DriverError) as caught:
        Registry([ScriptedDriver("same"), ScriptedDriver("same")])
    assert caught.value.message == (
        "two drivers claim the task type 'same': drivers.scripted.ScriptedDriver and drivers.scripted.ScriptedDriver"
    )


def test_a_driver_says_its_type() -> None:
    with pytest.raises(DriverError, match=r"^the driver drivers.scripted.ScriptedDriver does not say its task type$"):
        Registry([ScriptedDriver("")])
