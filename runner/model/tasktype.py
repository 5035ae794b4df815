"""A task type, as a runner tells of it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class TaskType(Struct, frozen=True, kw_only=True):
    """`healthy` tells whether its driver can start tasks at this moment; `unusable`, that there is no driver, for what `description`
    says. `package` and `version` are where it comes from, both empty where it is built in. `recovery`, `deadline`, `signals` and `shell` are
    its driver's capabilities, as of `drivers.base.Capabilities`. `spec_schema` is the JSON Schema of a task's `spec`."""

    name: str
    healthy: bool
    unusable: bool = False
    description: str = ""
    attributes: Mapping[str, str] = {}
    package: str = ""
    version: str = ""
    recovery: str = ""
    deadline: bool = False
    signals: tuple[str, ...] = ()
    shell: bool = False
    spec_schema: str = ""
