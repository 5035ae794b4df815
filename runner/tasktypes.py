"""The task types of this runner: the built-in ones, and those of the plugins that are installed. Commands that run nothing, or not yet,
want these alone of all that a node is made of."""

from __future__ import annotations

from drivers.plugins import Plugins
from drivers.registry import Registry
from runner.config import Settings
from taskimpl import built_in_drivers


def registry(settings: Settings) -> Registry:
    """All of them; no plugin is imported yet."""
    return Registry(built_in_drivers(settings.base_env, settings.template_milliseconds), Plugins())
