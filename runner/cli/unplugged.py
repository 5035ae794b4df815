"""Pydantic without plugins of its own: it would ask every package that is installed for them, which takes longer than to check a document;
and what is checked with it holds secrets, which they would be shown."""

from __future__ import annotations

import sys
from types import ModuleType


def unplug() -> None:
    """To be called before pydantic checks anything. The process is the command's own, so it may."""
    # The variable that pydantic knows for this would only keep it from asking, not from importing what it asks with.
    module = ModuleType("pydantic.plugin._loader")
    module.__dict__["get_plugins"] = tuple
    sys.modules.setdefault(module.__name__, module)
