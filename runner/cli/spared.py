"""Modules that packages import for a case that a command is never in, and that cost it a tenth of its start and a node two megabytes. In a
library this would be nobody's right; here the process is the command's own."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

PYDANTIC_PLUGINS = "pydantic.plugin._loader"
"""Asks every package that is installed for plugins of pydantic's. What is checked holds secrets, which no plugin has to see."""

PURE_PROTOBUF = "google.protobuf.internal.python_message"
"""What messages are made of where protobuf comes without its library in C."""


def spare() -> None:
    """To be called before what imports them."""
    no_plugins = ModuleType(PYDANTIC_PLUGINS)
    no_plugins.__dict__["get_plugins"] = tuple
    sys.modules.setdefault(PYDANTIC_PLUGINS, no_plugins)
    sys.modules.setdefault(PURE_PROTOBUF, _Postponed(PURE_PROTOBUF))


class _Postponed(ModuleType):
    """Becomes what it stands for when something of that is used after all."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        return getattr(import_module(name), attribute)
