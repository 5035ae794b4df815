"""The task types that a runner knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from drivers.base import Driver, Fingerprint
from drivers.plugins import Origin, Plugin, Plugins, Unusable
from runner.errors import DriverError
from runner.lazily import Lazily

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = Lazily("asyncio")

AnyDriver = Driver[Any]


class Condition(Struct, frozen=True, kw_only=True):
    """How a driver is at this moment. `origin` is None where it is built in."""

    driver: AnyDriver
    origin: Origin | None
    health: Fingerprint


class Registry:
    """Drivers by task type: those of an explicit list, and those that plugins give. A plugin is imported when its type is asked for."""

    def __init__(self, drivers: Iterable[AnyDriver], plugins: Plugins | None = None) -> None:
        """Raises DriverError when two drivers of the list claim one type, or one claims none."""
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
        self._plugins = plugins or Plugins(find=tuple)

    def get(self, type: str) -> AnyDriver | None:
        """The driver of this type. May import a plugin; see `load`."""
        driver = self._drivers.get(type)
        if driver is None and isinstance(plugin := self._plugins.get(type), Plugin):
            return plugin.driver
        return driver

    def trouble(self, type: str) -> str | None:
        """Why there is no driver of this type although a plugin claims it."""
        found = None if type in self._drivers else self._plugins.get(type)
        return str(found) if isinstance(found, Unusable) else None

    def lack(self, type: str) -> str:
        """What there is to say to somebody who wants a type that has no driver here."""
        trouble = self.trouble(type)
        if trouble is not None:
            return f"this runner cannot carry out the task type {type!r}: {trouble}"
        return f"this runner has no task type {type[:200]!r}; it has: {', '.join(self.types) or 'none'}"

    def load(self) -> Sequence[Unusable]:
        """Import all plugins; those that cannot be used. It blocks for as long as that takes."""
        for type in self._plugins.types:
            if type in self._drivers:
                self._plugins.refuse(type, f"the task type {type!r} is built in; its entry point needs another name")
            else:
                self._plugins.get(type)
        return [found for found in self._plugins.loaded if isinstance(found, Unusable)]

    @property
    def loaded(self) -> tuple[AnyDriver, ...]:
        """Those that are in use: all but of plugins that nobody has asked for."""
        return (
            *self._drivers.values(),
            *(found.driver for found in self._plugins.loaded if isinstance(found, Plugin)),
        )

    @property
    def drivers(self) -> tuple[AnyDriver, ...]:
        """All of them, those of the list first. May import plugins; see `load`."""
        self.load()
        return self.loaded

    @property
    def types(self) -> tuple[str, ...]:
        """The task types that there are, those of the list first; of a plugin that was not imported it is not known whether it can
        be used."""
        broken = {found.type for found in self._plugins.loaded if isinstance(found, Unusable)}
        plugged = [type for type in self._plugins.types if type not in self._drivers and type not in broken]
        return (*self._drivers, *plugged)

    def origin(self, type: str) -> Origin | None:
        """The package that gives it; None where it is built in, or there is none."""
        found = None if type in self._drivers else self._plugins.get(type)
        return found.origin if isinstance(found, Plugin) else None

    async def conditions(self) -> Sequence[Condition]:
        """Of all drivers, which are asked at the same time."""
        drivers = self.drivers
        found = await asyncio.gather(*(driver.fingerprint() for driver in drivers))
        return [
            Condition(driver=driver, origin=self.origin(driver.type), health=health)
            for driver, health in zip(drivers, found, strict=True)
        ]


def _spelt(driver: AnyDriver) -> str:
    return f"{type(driver).__module__}.{type(driver).__qualname__}"
