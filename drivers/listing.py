"""What a runner tells of its task types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping, Sequence

from drivers.plugins import Unusable
from drivers.registry import AnyDriver, Condition, Registry
from runner.model.tasktype import TaskType


async def task_types(registry: Registry, schemas: MutableMapping[str, str]) -> Sequence[TaskType]:
    """All of them, the ones that can be used first; a plugin that claims what is built in is there beside that. `schemas` are those that were made by now."""
    unusable = await asyncio.to_thread(registry.load)
    usable = [_of(condition, schemas) for condition in await registry.conditions()]
    return [*usable, *map(_unusable, unusable)]


def _of(condition: Condition, schemas: MutableMapping[str, str]) -> TaskType:
    driver, origin, health = condition.driver, condition.origin, condition.health
    return TaskType(
        name=driver.type,
        healthy=health.healthy,
        description=health.description,
        attributes=health.attributes,
        package=origin.package if origin else "",
        version=origin.version if origin else "",
        recovery=driver.capabilities.recovery.value,
        deadline=driver.capabilities.deadline,
        signals=tuple(sorted(driver.capabilities.signals)),
        shell=driver.capabilities.shell is True,
        spec_schema=_schema(driver, schemas),
    )


def _unusable(one: Unusable) -> TaskType:
    return TaskType(
        name=one.type,
        healthy=False,
        unusable=True,
        description=one.reason,
        package=", ".join(origin.package for origin in one.origins),
        version=", ".join(origin.version for origin in one.origins),
    )


def _schema(driver: AnyDriver, schemas: MutableMapping[str, str]) -> str:
    if driver.type not in schemas:
        from drivers import specschema  # what it needs takes memory, and most nodes are never asked

        schemas[driver.type] = json.dumps(specschema.known_of(driver.spec_model))
    return schemas[driver.type]
