"""The task types that a runner knows."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from drivers.base import Driver
from runner.errors import DriverError

AnyDriver = Driver[Any]


class Registry:
    """Drivers by task type. Made once, from an explicit list, and not changed after that."""

    def __init__(self, drivers: Iterable[AnyDriver]) -> None:
        """Raises DriverError when two drivers claim one type, or one claims none."""
        known: dict[str, AnyDriver] = {}
        for driver in drivers:
            name = getattr(driver, "type", "")
            if not name:
                raise DriverError(f"the driver {_spelt(driver)} does not say its task type")
            if name in known:
                raise DriverError(
                    f"two drivers claim the task type {name!r}: {_spelt(known[name])} and {_spelt(driver)}"
                )
            known[name] = driver
        self._drivers = MappingProxyType(known)

    def get(self, type: str) -> AnyDriver | None:
        return self._drivers.get(type)

    @property
    def drivers(self) -> tuple[AnyDriver, ...]:
        """In the order of the list."""
        return tuple(self._drivers.values())

    @property
    def types(self) -> tuple[str, ...]:
        """The known task types, in the order of the list."""
        return tuple(self._drivers)


def _spelt(driver: AnyDriver) -> str:
    return f"{type(driver).__module__}.{type(driver).__qualname__}"
