"""Modules that are imported when something of them is used first.

What reads a document knows drivers and clocks, and these know asyncio, which takes a sixth of a command's start to import and which
nobody needs before something runs:

    if TYPE_CHECKING:
        import asyncio
    else:
        asyncio = Lazily("asyncio")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazily:
    """Stands for a module. May be used from any thread."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # What is kept here is found without this method from then on.
        value = self.__dict__[attribute] = getattr(import_module(self._name), attribute)
        return value
